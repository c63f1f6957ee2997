"""Iterations that are recorded and replayed train as the others do. On a CPU a tape stands in for CUDA graphs."""

import copy

import pytest
import torch

from conftest import blobs, engine, fit, small_game
from sparring.augment.ada import ADA
from sparring.config.errors import TrainingDiverged
from sparring.losses import Hinge
from sparring.networks import dcgan
from sparring.regularizers.gradients import R1, GradientPenalty
from sparring.regularizers.lecam import LeCam
from sparring.training import lightning_hooks
from sparring.training.cuda_graphs import RecordedClock
from sparring.training.ema import EMA
from sparring.training.optimizers import PlayerOptimizer
from sparring.training.schedules import Cosine, Linear
from tape import Tapes, strictly
from watching import Rows, Watch


@pytest.fixture
def tapes(monkeypatch):
    monkeypatch.setattr(lightning_hooks, "CudaGraphs", Tapes)
    monkeypatch.setattr(Tapes, "played", 0)
    return Tapes


def scheduled() -> dict[str, PlayerOptimizer]:
    """Learning rates that differ in every iteration."""

    def adam(parameters):
        return torch.optim.Adam(parameters, 2e-3, betas=(0.5, 0.9), fused=True)

    return {
        "discriminator": PlayerOptimizer(adam, schedule=Linear(end_kimg=0.5), clip_norm=1.0),
        "generator": PlayerOptimizer(adam, schedule=Cosine(end_kimg=0.4, final=0.1)),
    }


CASES = {
    "dcgan": lambda: (small_game(family=dcgan, classes=3), {}),
    "reused fakes": lambda: (small_game(), {"reuse_fakes": True}),
    "two turns in micro-batches": lambda: (small_game(Hinge()), {"n_dis": 2, "accumulate": 2}),
    "spectral norm": lambda: (small_game(family=dcgan, spectral_norm=True, classes=3), {"n_dis": 2}),
    "lazy and scheduled penalties": lambda: (
        small_game(
            regularizers={
                "gp": GradientPenalty(every=3),
                "r1": R1(5.0, schedule=Linear(end_kimg=0.1)),
                "lecam": LeCam(start=6),
            }
        ),
        {},
    ),
    "an augmentation that rises": lambda: (
        small_game(augment=ADA(p=0.9, target=None, schedule=Linear(0.2, initial=0.0, final=1.0))),
        {},
    ),
    "an augmentation that adapts": lambda: (small_game(augment=ADA(p=0.3, adjust_kimg=0.1)), {}),
}


def trained(case: str, captured: bool):
    """Thirty iterations with everything on the clock."""
    game, options = CASES[case]()
    ema = EMA(game.producer, 0.05, rampup=0.3, schedule=Linear(end_kimg=0.3, final=2.0))
    rows = Rows()
    columns = blobs(size=8)
    module = engine(
        game, columns, optimizers=scheduled(), ema=ema, log_every=5, cuda_graph=captured, flip=True, **options
    )
    fit(module, 30, loggers=[rows])
    assert module.iteration == 30
    return module, rows.rows


@pytest.mark.parametrize("case", CASES)
def test_replayed_iterations_make_the_same_weights_and_log(case, tapes):
    plain, expected = trained(case, captured=False)
    assert tapes.played == 0
    module, rows = trained(case, captured=True)
    assert tapes.played >= 8
    for name, value in plain.state_dict().items():
        assert torch.allclose(module.state_dict()[name], value, rtol=1e-5, atol=1e-6), name
    assert len(rows) == len(expected) == 6
    for row, other in zip(rows, expected, strict=True):
        for each in (row, other):
            del each["images_per_second"]
        assert row == pytest.approx(other, rel=1e-4, abs=1e-5)
    assert module.running_means.first_bad() is None


def test_a_number_that_is_not_told_anew_would_be_found(tapes, monkeypatch):
    """The tape repeats what it recorded: with a learning rate that stays a number, weights differ."""
    monkeypatch.setattr(RecordedClock, "scheduled", lambda self, schedule: schedule(self.kimg_at(self.iteration)))
    plain, _ = trained("dcgan", captured=False)
    module, _ = trained("dcgan", captured=True)
    a, b = (torch.cat([p.flatten() for p in m.game.parameters()]) for m in (plain, module))
    assert not torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def test_the_iteration_in_which_something_became_nan_is_known_after_a_replay(tapes):
    game = small_game()
    module = engine(game, optimizers=scheduled(), log_every=100, cuda_graph=True)

    def spoil(module):
        if module.iteration == 8:
            with torch.no_grad():
                next(game.generator.parameters()).fill_(torch.nan)

    with pytest.raises(TrainingDiverged, match="in iteration 9 "):
        fit(module, 12, callbacks=[Watch(spoil)])


def test_a_run_that_was_captured_goes_on_without_and_the_other_way_round(tapes, tmp_path):
    def saved(captured, iterations, resume=None):
        module = engine(small_game(), cuda_graph=captured, optimizers=scheduled())
        fit(module, iterations, resume=resume).save_checkpoint(tmp_path / f"{captured}-{iterations}.ckpt")
        return module

    unbroken = saved(False, 12)
    for first in (True, False):
        saved(first, 6)
        module = saved(not first, 12, resume=tmp_path / f"{first}-6.ckpt")
        for name, value in unbroken.state_dict().items():
            assert torch.allclose(module.state_dict()[name], value, rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize("case", CASES)
def test_nothing_in_a_step_waits_for_the_device(case):
    game, options = CASES[case]()
    module = engine(game, optimizers=scheduled(), log_every=1000, flip=True, **options)
    strictly(module)
    fit(module, 5)
    assert module.iteration == 5


def test_waiting_would_be_found():
    class Reads(R1):
        def forward(self, turn):
            self.seen = turn.real_logits.mean().item()
            return super().forward(turn)

    class Moves(R1):
        def forward(self, turn):
            return super().forward(turn) * torch.ones(8).to(turn.reals)

    for penalty, said in ((Reads(), "would wait"), (Moves(), "meta")):
        module = engine(small_game(regularizers={"r1": penalty}), optimizers=scheduled())
        strictly(module)
        with pytest.raises(RuntimeError, match=said):
            fit(module, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("captured", [False, True])
def test_a_hundred_iterations_on_a_gpu_never_wait_for_it(case, captured):
    game, options = CASES[case]()
    module = engine(game, log_every=10**6, optimizers=scheduled(), cuda_graph=captured, **options)

    def look(module):  # after libraries have chosen their kernels, and the last phase is recorded
        torch.cuda.set_sync_debug_mode("error" if 20 <= module.iteration < 120 else "default")

    try:
        fit(module, 121, callbacks=[Watch(look)], accelerator="gpu")
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("case", CASES)
def test_cuda_graphs_make_the_same_weights(case):
    modules = []
    for captured in (False, True):
        game, options = CASES[case]()
        module = engine(copy.deepcopy(game), optimizers=scheduled(), log_every=5, cuda_graph=captured, **options)
        fit(module, 20, accelerator="gpu")
        modules.append(module)
    plain, module = (m.state_dict() for m in modules)
    for name, value in plain.items():
        assert torch.allclose(module[name], value, rtol=1e-3, atol=1e-4), name


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_graphs_are_refused_where_there_is_no_gpu_before_data_are_loaded(run, tmp_path):
    done = run("trainer.cuda_graph=true", f"cache={tmp_path}/cache", cwd=tmp_path, check=False)
    assert done.returncode == 1 and "needs an NVIDIA GPU" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "cache" / "datasets").exists()
