"""Auxiliary classifier GAN: the discriminator also predicts the class, of reals and of fakes."""

from pydantic import NonNegativeFloat
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparring.games.generation import Generation
from sparring.games.turn import Turn
from sparring.networks.arguments import Classes
from sparring.networks.base_discriminator import BaseDiscriminator


class ACGAN(Generation):
    """Generation given a label that only the generator sees (Odena et al. 2017, eq. 2-3).

    Its term is ``classification``, the mean cross-entropy of a class head on the discriminator's features: in D's turn
    of reals and fakes, in G's turn of fakes.

    Args:
        classes: number of labels.
        class_weight: factor of that term.
        options: those of ``Generation``; the discriminator is a ``BaseDiscriminator`` and unconditional.
    """

    reads_features = True
    discriminator: BaseDiscriminator

    def __init__(self, *, classes: Classes, class_weight: NonNegativeFloat = 1.0, **options):
        super().__init__(**options)
        if classes < 2 or not self.conditional:
            raise ValueError("ACGAN needs labels: data that have them, and model.conditional=true")
        self.classifier = nn.Linear(self.discriminator.feature_dim, classes)
        self.class_weight = class_weight

    @property
    def players(self) -> dict[str, list[nn.Module]]:
        return {"discriminator": [self.discriminator, self.classifier], "generator": [self.generator]}

    def terms(self, player: str, turn: Turn) -> dict[str, Tensor]:
        adversarial, labels = super().terms(player, turn), turn.condition
        assert labels is not None
        classification = cross_entropy(self.classifier(turn.fake_features), labels)
        if player == "discriminator":
            classification = classification + cross_entropy(self.classifier(turn.real_features), labels)
        return adversarial | {"classification": self.class_weight * classification}
