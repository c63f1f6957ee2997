"""Unpaired translation: two generators, there and back, so that going both ways leaves an image as it was."""

import copy
from collections.abc import Mapping

from torch import Tensor, nn

from sparring.augment.base import Augment
from sparring.config.errors import UserError
from sparring.games.game import Game
from sparring.games.image_pool import Pool
from sparring.games.translation import Translation
from sparring.games.turn import Turn
from sparring.losses import Loss
from sparring.randomness import Draws
from sparring.regularizers.base import Regularizer


class CycleGAN(Game):
    """Two translations without pairs, ``there`` from inputs to images and ``back`` (Zhu et al. 2017).

    Each has a discriminator, a loss and regularizers of its own. The generators' common terms: ``cycle``,
    E|F(G(x)) - x| + E|G(F(y)) - y| (eq. 2), and ``identity``, E|G(y) - y| + E|F(x) - x| (section 5.2). Discriminators see
    half of their fakes from a pool of earlier ones (Shrivastava et al. 2017). Pools stay within a rank, but for checkpoints
    and evaluations, which give all ranks the first one's.

    Args:
        generator, discriminator: of images.
        back_generator, back_discriminator: of inputs.
        loss: the paper's is least squares.
        regularizers: by name; either discriminator has them.
        cycle_weight: lambda.
        identity_weight: of the identity terms; the paper's is half of lambda, where colours should stay, else 0.
        adversarial_weight: factor of the generators' adversarial terms; 2 makes those of ``LeastSquares`` the paper's squares.
        pool: fakes that are remembered, of each kind; 0 shows the newest alone.
        image_size, channels, input_channels: of the images, and of the inputs, which are as large.
        augment: of what the discriminators see.
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
        cycle_weight: float = 10.0,
        identity_weight: float = 5.0,
        adversarial_weight: float = 1.0,
        pool: int = 50,
    ):
        super().__init__()
        options = {"judge_pairs": False, "l1_weight": 0.0, "adversarial_weight": adversarial_weight}
        options |= {"loss": loss, "regularizers": regularizers, "augment": augment}
        self.there = Translation(generator=generator, discriminator=discriminator, **options)
        options = copy.deepcopy(options)  # what remembers does so apart
        self.back = Translation(generator=back_generator, discriminator=back_discriminator, **options)
        self.cycle_weight, self.identity_weight = cycle_weight, identity_weight
        kinds = {"there": channels, "back": input_channels}
        self.pools = nn.ModuleDict({name: Pool(pool, (c, image_size, image_size)) for name, c in kinds.items()})

    @property
    def players(self) -> dict[str, list[nn.Module]]:
        return {name: self.there.players[name] + self.back.players[name] for name in self.there.players}

    @property
    def producer(self) -> nn.Module:
        return self.there.generator

    def terms(self, player: str, turn: Turn) -> dict[str, Tensor]:
        halves = self._halves(turn)
        if player == "discriminator":
            for name, half in halves.items():
                half.fakes = self.pools[name](half.fakes, half.draws)
        terms = {
            f"{name}/{term}": t for name, half in halves.items() for term, t in half.game.terms(player, half).items()
        }
        turn.notes |= {f"{name}/{note}": value for name, half in halves.items() for note, value in half.notes.items()}
        if player == "generator":
            x, y = halves["there"].condition, halves["back"].condition
            there, back = self.there.generator, self.back.generator
            terms["cycle"] = self.cycle_weight * (
                _apart(back(halves["there"].fakes), x) + _apart(there(halves["back"].fakes), y)
            )
            if self.identity_weight:
                terms["identity"] = self.identity_weight * (_apart(there(y), y) + _apart(back(x), x))
        return terms

    def after(self, player: str, turn: Turn) -> None:
        for half in self._halves(turn).values():
            half.game.after(player, half)

    def produce(self, latents: None, condition: Tensor, producer: nn.Module | None = None) -> Tensor:
        return self.there.produce(None, condition, producer)

    def condition(self, batch: dict[str, Tensor], draws: Draws) -> Tensor:
        return self.there.condition(batch, draws)

    def told(self, images: Tensor, lost: Tensor) -> Tensor:
        return self.there.told(images, lost)

    def baselines(self, condition: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        return self.there.baselines(condition, size)

    def check_fits(self, producer: nn.Module, columns: dict[str, Tensor]) -> None:
        self.there.check_fits(producer, columns)
        back = copy.deepcopy(self.back.generator).eval()
        try:
            self.back.check_fits(back, swapped(columns))
        except UserError as error:
            raise UserError(f"the way back: {error}") from error
        shapes = {name: tuple(columns[name].shape[1:]) for name in ("images", "inputs")}
        if self.identity_weight and shapes["images"] != shapes["inputs"]:
            raise UserError(
                f"model.identity_weight={self.identity_weight}: an image can stay as it is only where both kinds have one "
                f"shape, and here images are {shapes['images']}, inputs {shapes['inputs']}: model.identity_weight=0"
            )

    def _halves(self, turn: Turn) -> dict[str, Turn]:
        """The turns of either translation within this one, made when first asked for."""
        if not turn.parts:
            for name, game, batch in (("there", self.there, turn.batch), ("back", self.back, swapped(turn.batch))):
                turn.parts[name] = turn.part(game, batch, name)
        return turn.parts


def swapped(columns: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the way back is given: inputs are its images, and images its inputs."""
    other = {"images": "inputs", "inputs": "images"}
    return {other[name]: column for name, column in columns.items() if name in other}


def _apart(images: Tensor, wanted: Tensor) -> Tensor:
    return (images - wanted).abs().mean()
