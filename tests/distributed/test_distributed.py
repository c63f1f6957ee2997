"""Two ranks with batch B are one with batch 2B: the same weights, the same log, the same checkpoints."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
import torch
from torch import nn

from conftest import Projection, TensorSet, blobs, engine, fit, in_ranks, noise_images, small_game
from sparring import losses, regularizers
from sparring.data.degradations.masks import Mask
from sparring.data.degradations.mixed import Mixed
from sparring.data.degradations.quality import Noise
from sparring.distributed import collectives
from sparring.distributed.signals import Stop
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.metrics.frechet_distance import FrechetDistance
from sparring.evaluation.references import References
from sparring.games.cyclegan import CycleGAN
from sparring.games.game import Game
from sparring.games.generation import Generation
from sparring.games.translation import Translation
from sparring.games.vae import VAE
from sparring.games.vae_gan import VAEGAN
from sparring.networks import dcgan, patch, unet
from sparring.regularizers import base, generator, gradients
from sparring.training.adversarial_module import AdversarialModule
from sparring.training.callbacks.checkpoints import Checkpoints
from sparring.training.callbacks.graceful_stop import GracefulStop
from sparring.training.callbacks.scores import Scores
from sparring.training.ema import EMA
from sparring.training.optimizers import PlayerOptimizer
from sparring.training.schedules import Cosine
from turns import remembering

ITERATIONS, GLOBAL_BATCH = 20, 16
GREY = {"image_size": 8, "channels": 1, "input_channels": 1}


def below(kind: type) -> dict[str, type]:
    """Every subclass that can be built and whose value does not depend on which examples share a batch."""
    found = {}
    for each in kind.__subclasses__():
        found |= below(each)
        ours = each.__module__.startswith("sparring.") and not inspect.isabstract(each)  # and not another test's
        if ours and not each.couples_batch and each is not generator.PathLength:
            found[each.__name__] = each
    return found


for found in pkgutil.iter_modules(regularizers.__path__, "sparring.regularizers."):
    importlib.import_module(found.name)  # so that all subclasses are known
LOSSES, REGULARIZERS = below(losses.Loss), below(base.Regularizer)


def adam(**options):
    def build(parameters):
        return torch.optim.Adam(parameters, 1e-3, betas=(0.5, 0.999))

    return {player: PlayerOptimizer(build, **options) for player in ("discriminator", "generator")}


# Networks without batch norm: it sees its own rank's part of the batch, as in the published codes.
CASES = {
    **{f"loss {name}": lambda kind=kind: engine(small_game(kind()), **ours()) for name, kind in LOSSES.items()},
    **{
        f"regularizer {name}": lambda kind=kind: engine(small_game(regularizers={"it": kind()}), **ours())
        for name, kind in REGULARIZERS.items()
    },
    "what remembers": lambda: remembering(**ours()),
    "two discriminator turns": lambda: engine(small_game(), n_dis=2, **ours()),
    "accumulation": lambda: engine(small_game(), accumulate=2, **ours()),
    "reused fakes": lambda: engine(small_game(), reuse_fakes=True, **ours()),
    "clipping": lambda: engine(small_game(), optimizers=adam(clip_norm=0.01), **ours()),
    "a schedule": lambda: engine(small_game(), optimizers=adam(schedule=Cosine(0.3)), **ours()),
    "labels and flips": lambda: engine(small_game(classes=3), flip=True, **ours()),
    "all at once, convolutions": lambda: engine(
        Generation(
            dcgan.Generator(8, 1, latent_dim=4, width=8, num_classes=3, norm="none"),
            dcgan.Discriminator(8, 1, width=8, num_classes=3, norm="none"),
            losses.Hinge(),
            {"r1": gradients.R1(every=4), "gp": gradients.GradientPenalty(weight=1.0)},
            latent_dim=4,
            conditional=True,
        ),
        **ours(n_dis=2, accumulate=2, flip=True, optimizers=adam(clip_norm=1.0)),
    ),
    "pairs": lambda: translating(Translation(generator=mender(), discriminator=judge(2), loss=losses.LeastSquares())),
    "restoration": lambda: translating(
        Translation(
            generator=mender(2),
            discriminator=judge(3),
            loss=losses.NonSaturating(),
            regularizers={"r1": gradients.R1(), "gp": gradients.GradientPenalty()},
            degradation=Mixed({"mask": Mask(["box", "strokes"]), "noise": Noise((5, 50))}),
        ),
        accumulate=2,
    ),
    "there and back": lambda: translating(
        CycleGAN(mender(), judge(), mender(), judge(), losses.LeastSquares(), **GREY, pool=0)
    ),
    "VAE": lambda: engine(VAE(small_game().generator, encoder(), latent_dim=4, beta=2.0), **ours()),
    "VAE-GAN": lambda: engine(
        VAEGAN(
            generator=(game := small_game(losses.Hinge())).generator,
            discriminator=game.discriminator,
            encoder=encoder(),
            loss=game.loss,
            latent_dim=4,
        ),
        **ours(),
    ),
}


def mender(in_channels: int = 1) -> nn.Module:
    torch.manual_seed(in_channels)
    return unet.Generator(8, in_channels, 1, width=4, depth=2, norm="none", dropout=0.0)


def judge(channels: int = 1) -> nn.Module:
    torch.manual_seed(channels)
    return patch.Discriminator(8, channels, width=4, norm="none", layers=1)


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return dcgan.Discriminator(8, 1, width=4, norm="none")


def translating(game: Game, **options) -> AdversarialModule:
    """An engine for a game of images and inputs; those of CycleGAN are not pairs."""
    columns = {"images": noise_images(40, 255), "inputs": noise_images(40 + 8 * isinstance(game, CycleGAN), 255, 1)}
    module = engine(game, columns, **ours(flip=True, **options))
    module.batches.paired = not isinstance(game, CycleGAN)
    return module


def ours(**options) -> dict:
    """This rank's share of the global batch, and a row of the log every five iterations."""
    torch.manual_seed(0)
    return {"batch_size": GLOBAL_BATCH // collectives.world_size(), "log_every": 5, "lr": 1e-3, **options}


def trained(module: AdversarialModule, iterations: int = ITERATIONS, precision="64-true", **options) -> dict:
    module.ema = EMA(module.game.producer, 0.05, 0.5)
    fit(module, iterations, precision=precision, **options)
    return {"weights": {k: v.clone() for k, v in module.state_dict().items()}, "log": module.latest}


class Watched(Generation):
    """Remembers the examples and the noise of every turn."""

    def terms(self, player, turn):
        self.seen.append((player, turn.batch["labels"].clone(), turn.latents.clone()))
        return super().terms(player, turn)


def watched() -> list:
    game = small_game()
    game.__class__, game.seen = Watched, []
    columns = blobs(96)
    columns["labels"] = torch.arange(96)
    fit(engine(game, columns, **ours()), 6)
    return game.seen


def first_gradients() -> dict[str, torch.Tensor]:
    """The change of every weight by one step of SGD, in float32."""
    game = small_game()
    before = {name: value.clone() for name, value in game.state_dict().items()}
    sgd = {player: PlayerOptimizer(lambda p: torch.optim.SGD(p, 1.0)) for player in game.players}
    fit(engine(game, **ours(optimizers=sgd)), 1)
    return {name: before[name] - value for name, value in game.state_dict().items()}


def with_batch_norm(*callbacks) -> dict[str, torch.Tensor]:
    """Running statistics after training: those of each rank's own images until a callback shares them."""
    torch.manual_seed(0)
    players = dcgan.Generator(8, 1, latent_dim=4, width=8), dcgan.Discriminator(8, 1, width=8)
    module = engine(Generation(*players, losses.Hinge(), latent_dim=4), **ours())
    fit(module, 3, callbacks=callbacks)
    return {name: value.clone() for name, value in module.named_buffers()}


def scoring(folder: Path) -> Scores:
    """An evaluation with the running statistics, at the end."""
    reals = TensorSet(noise_images(64))
    evaluator = Evaluator(Projection(), {"fd": FrechetDistance()}, reals="all", samples=60, samples_during=60, seeds=1)
    return Scores(evaluator, References(reals), folder, folder / "cache", "running")


class StopOneRank(GracefulStop):
    """As if a signal had reached the last rank alone, in its third iteration."""

    def on_train_batch_end(self, trainer, module, *rest):
        if module.iteration == 3 and collectives.rank() == collectives.world_size() - 1:
            self.stop.received = 15
        super().on_train_batch_end(trainer, module, *rest)


def everything(folder: Path) -> None:
    """Run each case on all ranks there are, and store the results for the tests below."""
    ranks = collectives.world_size()
    own = folder / f"{ranks}"
    found = {name: trained(make()) for name, make in CASES.items()}
    found["seen"] = watched()
    found["first gradients"] = first_gradients()
    found["buffers"] = with_batch_norm()
    found["buffers checkpoint"] = with_batch_norm(Checkpoints(own / "bn", every_kimg=1000))
    found["buffers evaluation"] = with_batch_norm(scoring(own / "scored"))
    half = engine(small_game(regularizers={"r1": gradients.R1()}), n_dis=2, **ours(log_every=8))
    trained(half, ITERATIONS // 2, callbacks=[Checkpoints(own / "half", every_kimg=1000)])
    collectives.barrier()
    for stored in ("1", "2"):
        if (path := folder / stored / "half" / "last.ckpt").exists():
            module = engine(small_game(regularizers={"r1": gradients.R1()}), n_dis=2, **ours(log_every=8))
            found[f"resumed from {stored}"] = trained(module, resume=path)
    whole = engine(small_game(regularizers={"r1": gradients.R1()}), n_dis=2, **ours(log_every=8))
    found["unbroken"] = trained(whole)
    stopped = engine(small_game(), **ours())
    with Stop() as stop:
        fit(stopped, ITERATIONS, callbacks=[StopOneRank(stop), Checkpoints(own / "stopped", every_kimg=1000)])
    found["stopped"] = (stopped.iteration, stopped.interrupted)
    torch.save(found, folder / f"{ranks}-{collectives.rank()}.pt")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The results of one rank, and of the first and second of two."""
    folder = tmp_path_factory.mktemp("ranks")
    in_ranks(everything, folder)
    everything(folder)  # alone, after them: it also resumes from their checkpoints
    return [torch.load(folder / f"{name}.pt", weights_only=False) for name in ("1-0", "2-0", "2-1")]


def assert_close(a: dict, b: dict, tolerance: float) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.allclose(value.double(), b[name].double(), rtol=0, atol=tolerance), name


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_ranks_make_the_weights_and_the_average_of_one(case, found):
    one, first, second = (result[case]["weights"] for result in found)
    assert_close(first, second, 0)
    assert_close(one, first, 1e-10)
    assert any(name.startswith("ema.") for name in one)
    assert {value.dtype for value in one.values()} <= {torch.float64, torch.int64}


@pytest.mark.parametrize("case", CASES)
def test_the_log_is_that_of_the_global_batch(case, found):
    one, first, second = (result[case]["log"] for result in found)
    coupled = {"separation", "diversity", "images_per_second"}  # of a rank's own batch; of the machine
    assert one.keys() == first.keys() and len(one) > 5
    for name in (name for name in one if name.rpartition("/")[2] not in coupled):
        assert first[name] == pytest.approx(one[name], rel=1e-5, abs=1e-6), name
    assert {name.rpartition("/")[2] for name in second} <= coupled | {"lr"}  # the first rank has it


def test_in_float32_the_first_gradients_agree(found):
    one, first, second = (result["first gradients"] for result in found)
    assert_close(first, second, 0)
    assert_close(one, first, 1e-5)


def test_each_rank_has_its_own_noise_and_images_and_an_epoch_repeats_no_image(found):
    one, first, second = (result["seen"] for result in found)
    for (_, whole, noise), (_, left, left_noise), (_, right, right_noise) in zip(one, first, second, strict=True):
        assert torch.equal(torch.cat([left, right]), whole)
        assert torch.equal(torch.cat([left_noise, right_noise]), noise)
        assert len(noise.unique(dim=0)) == GLOBAL_BATCH
    for player in ("discriminator", "generator"):
        walked = torch.cat([rows for seen in (first, second) for who, rows, _ in seen if who == player])
        assert walked.sort().values.tolist() == list(range(96))  # six global batches of 16: one epoch


@pytest.mark.parametrize("asked", ["checkpoint", "evaluation"])
def test_before_a_checkpoint_or_an_evaluation_all_ranks_get_the_first_ones_running_statistics(asked, found):
    _, first, second = (result[f"buffers {asked}"] for result in found)
    assert_close(first, second, 0)
    _, own, others = (result["buffers"] for result in found)
    assert any("running_mean" in name for name in own)
    assert any(not torch.equal(own[name], others[name]) for name in own)  # without a callback


def test_resuming_with_two_ranks_is_exact_and_so_is_resuming_with_one(found):
    one, first, second = found
    assert_close(first["unbroken"]["weights"], first["resumed from 2"]["weights"], 0)
    assert_close(second["unbroken"]["weights"], second["resumed from 2"]["weights"], 0)
    assert_close(one["unbroken"]["weights"], one["resumed from 2"]["weights"], 1e-10)
    assert_close(one["unbroken"]["weights"], first["unbroken"]["weights"], 1e-10)
    for run in (first["resumed from 2"], one["resumed from 2"]):  # a row that averages iterations before and after
        assert run["log"]["discriminator/adversarial"] == pytest.approx(
            one["unbroken"]["log"]["discriminator/adversarial"]
        )


def test_all_ranks_stop_after_the_same_iteration_though_one_gets_the_signal(found):
    one, first, second = (result["stopped"] for result in found)
    assert one == (3, True)
    assert first == second and first[1] and 3 <= first[0] <= 5
