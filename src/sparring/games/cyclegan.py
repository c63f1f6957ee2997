"""Unpaired translation: two generators, one each way; translating an image there and back must return it."""

import copy
from collections.abc import Mapping

from pydantic import NonNegativeFloat
from torch import Tensor, nn

from sparring.augment.base import Augment
from sparring.config.errors import UserError
from sparring.games.game import Game
from sparring.games.image_pool import ImagePool
from sparring.games.translation import Translation
from sparring.games.turn import Turn
from sparring.losses import Loss
from sparring.networks.arguments import Group
from sparring.randomness import Draws
from sparring.regularizers.base import Regularizer


class CycleGAN(Game):
    """Two translations without pairs, ``there`` from inputs to images and ``back`` (Zhu et al. 2017).

    Each has its own discriminator, loss and regularizers. Terms of both generators: ``cycle``, E|F(G(x)) - x| +
    E|G(F(y)) - y| (eq. 2), and ``identity``, E|G(y) - y| + E|F(x) - x| (section 5.2). Half of the fakes that a
    discriminator sees come from a pool of earlier ones (Shrivastava et al. 2017). Each rank has its own pools; at
    checkpoints and evaluations all ranks take the first one's.

    Args:
        generator, discriminator: of images.
        back_generator, back_discriminator: of inputs.
        loss: least squares in the paper.
        regularizers: by name, for both discriminators.
        augment: of what the discriminators see.
        image_size: of images and inputs.
        channels, input_channels: of images, of inputs.
        cycle_weight: lambda.
        identity_weight: half of lambda in the paper, 0 where colours may change.
        adversarial_weight: factor of the generators' adversarial terms; 2 gives ``LeastSquares`` the paper's scale.
        pool: size of each pool; 0 for none.
    """

    translates = True
    shares_fakes = False
    draws_reals = frozenset({"discriminator", "generator"})

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        back_generator: nn.Module,
        back_discriminator: nn.Module,
        loss: Loss,
        regularizers: Mapping[str, Regularizer] | None = None,
        augment: Augment | None = None,
        *,
        image_size: int,
        channels: int = 3,
        input_channels: int = 3,
        cycle_weight: NonNegativeFloat = 10.0,
        identity_weight: NonNegativeFloat = 5.0,
        adversarial_weight: NonNegativeFloat = 1.0,
        pool: Group = 50,
    ):
        super().__init__()
        options = {"judge_pairs": False, "l1_weight": 0.0, "adversarial_weight": adversarial_weight}
        options |= {"loss": loss, "regularizers": regularizers, "augment": augment}
        self.there = Translation(generator=generator, discriminator=discriminator, **options)
        options = copy.deepcopy(options)  # regularizers and augmentation may have a state
        self.back = Translation(generator=back_generator, discriminator=back_discriminator, **options)
        self.cycle_weight, self.identity_weight = cycle_weight, identity_weight
        kinds = {"there": channels, "back": input_channels}
        self.pools = nn.ModuleDict({name: ImagePool(pool, (c, image_size, image_size)) for name, c in kinds.items()})

    @property
    def players(self) -> dict[str, list[nn.Module]]:
        return {name: self.there.players[name] + self.back.players[name] for name in self.there.players}

    @property
    def producer(self) -> nn.Module:
        return self.there.generator

    def terms(self, player: str, turn: Turn) -> dict[str, Tensor]:
        terms, parts, games = {}, self._parts(turn), self._games
        for name, part in parts.items():
            if player == "discriminator":
                part.fakes = self.pools[name](part.fakes, part.draws)
            terms |= {f"{name}/{term}": value for term, value in games[name].terms(player, part).items()}
            turn.notes |= {f"{name}/{note}": value for note, value in part.notes.items()}
        if player == "generator":
            there, back = self.there.generator, self.back.generator
            x, y = parts["there"].condition, parts["back"].condition
            cycle = _l1(back(parts["there"].fakes), x) + _l1(there(parts["back"].fakes), y)
            terms["cycle"] = self.cycle_weight * cycle
            if self.identity_weight:
                terms["identity"] = self.identity_weight * (_l1(there(y), y) + _l1(back(x), x))
        return terms

    def after(self, player: str, turn: Turn) -> None:
        for name, part in self._parts(turn).items():
            self._games[name].after(player, part)

    def produce(self, latents: None, condition: Tensor, producer: nn.Module | None = None) -> Tensor:
        return self.there.produce(None, condition, producer)

    def condition(self, batch: dict[str, Tensor], draws: Draws) -> Tensor:
        return self.there.condition(batch, draws)

    def condition_for(self, images: Tensor, lost: Tensor) -> Tensor:
        """Return the generator's input for a person's own images: see ``Translation``."""
        return self.there.condition_for(images, lost)

    def baselines(self, condition: Tensor, size: tuple[int, ...]) -> dict[str, Tensor]:
        return self.there.baselines(condition, size)

    def check_fits(self, producer: nn.Module, columns: dict[str, Tensor]) -> None:
        self.there.check_fits(producer, columns)
        try:
            self.back.check_fits(copy.deepcopy(self.back.generator).eval(), swapped(columns))
        except UserError as error:
            raise UserError(f"the way back: {error}") from error
        images, inputs = (tuple(columns[name].shape[1:]) for name in ("images", "inputs"))
        if self.identity_weight and images != inputs:
            raise UserError(
                f"model.identity_weight={self.identity_weight}: images and inputs must have one shape, "
                f"and are {images} and {inputs}: model.identity_weight=0"
            )

    @property
    def _games(self) -> dict[str, Translation]:
        return {"there": self.there, "back": self.back}

    def _parts(self, turn: Turn) -> dict[str, Turn]:
        """Return the two translations' turns within this one, the same objects every time."""
        if not turn.parts:
            batches = {"there": turn.batch, "back": swapped(turn.batch)}
            turn.parts = {name: turn.part(game, batches[name], name) for name, game in self._games.items()}
        return turn.parts


def swapped(columns: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the columns for the way back: images and inputs change places, others are left out."""
    other = {"images": "inputs", "inputs": "images"}
    return {other[name]: column for name, column in columns.items() if name in other}


def _l1(images: Tensor, targets: Tensor | None) -> Tensor:
    assert targets is not None
    return (images - targets).abs().mean()
