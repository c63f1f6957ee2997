"""Runs that are killed, stopped or damaged. ``python tests/faults.py`` kills them at more moments, and ranks of theirs."""

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

import commands
from commands import begin
from conftest import Malicious
from faults import EVERY, SETTINGS, Faults, contents, entries
from sparring.config.errors import UserError
from sparring.distributed import signals
from sparring.runs.store import Run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills processes by their /proc")


@pytest.fixture(scope="module")
def faults(tmp_path_factory) -> Faults:
    return Faults(tmp_path_factory.mktemp("faults"))


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["cache", "checkpoint", "evaluation", "last evaluation"])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(moment, faults):
    seen = faults.point(moment.replace(" ", "-"), moment, random.Random(moment))
    assert seen.under_way and seen.same and seen.repeated <= EVERY


@pytest.mark.slow
def test_asked_to_stop_in_an_evaluation_it_leaves_at_once_and_makes_it_again_later(faults, run):
    """Of so many samples that it would take minutes; those of the run that goes on are as many as the unbroken one's."""
    place, many = faults.folder / "asked", "evaluation.samples_during=500000"
    process = begin(*SETTINGS, many, "hydra.run.dir=asked", f"cache={faults.folder}/cache", cwd=faults.folder)
    until, status = time.monotonic() + 100, place / "status.json"
    while not status.exists() or '"device"' not in status.read_text():  # training begins, with an evaluation
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGUSR1)
    asked = time.monotonic()
    said = process.communicate(timeout=60)[0]
    assert time.monotonic() - asked < 30
    assert process.returncode == 128 + signal.SIGUSR1 and f"Go on with: python run.py resume={place}" in said
    assert not entries(place)

    run("resume=asked", "evaluation.samples_during=500", f"cache={faults.folder}/cache", cwd=faults.folder)
    assert contents(place) == faults.whole


def asked(numbers: list[int], training: bool, patience: float) -> None:
    """A process that is sent signals .6 s after each other, and goes on for half a minute if it can."""
    signals.GRACE = patience
    with signals.Stop() as stop:
        stop.training, stop.command, stop.before_exit = training, "COMMAND", lambda: print("marked", flush=True)
        for number in numbers:
            signal.raise_signal(number)
            time.sleep(0.6)
        time.sleep(30)


@pytest.mark.parametrize(
    ("numbers", "training", "patience", "status", "said"),
    [
        ([signal.SIGINT, signal.SIGINT], True, 20, 130, "Left at once"),
        ([signal.SIGTERM, signal.SIGINT, signal.SIGINT], True, 20, 143, "Left at once"),
        ([signal.SIGUSR1], True, 0.3, 138, "Not done within"),
        ([signal.SIGTERM], False, 20, 143, "stopped before training began"),
    ],
)
def test_whoever_asks_is_not_kept_waiting(numbers, training, patience, status, said, tmp_path):
    process = commands.WARM.Process(target=_asked_aloud, args=(tmp_path / "said", numbers, training, patience))
    begun = time.monotonic()
    process.start()
    process.join(25)
    assert process.exitcode == status and time.monotonic() - begun < 15
    told = (tmp_path / "said").read_text()
    assert said in told and "Go on with: COMMAND" in told and ("marked" in told) == training


def _asked_aloud(path: Path, *arguments) -> None:
    for stream in (1, 2):
        os.dup2(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY), stream)
    asked(*arguments)


def test_a_run_is_not_begun_over_another(faults, run):
    before = contents(faults.folder / "whole")
    done = run(*SETTINGS, "hydra.run.dir=whole", f"cache={faults.folder}/cache", cwd=faults.folder, check=False)
    assert done.returncode == 1 and "holds a run already" in done.stderr
    done = run(*SETTINGS, "run=whole", f"cache={faults.folder}/cache", cwd=faults.folder, check=False)
    assert done.returncode == 1 and "task=train reads none" in done.stderr
    assert contents(faults.folder / "whole") == before


def test_another_runs_checkpoint_is_not_gone_on_with(tmp_path):
    run = stored(tmp_path, 3)
    (tmp_path / "versions.json").write_text('{"run": "mine"}')
    torch.save({"state_dict": {}, "global_step": 5, "kimg": 5.0, "run": "another"}, tmp_path / "checkpoints" / "new")
    (tmp_path / "checkpoints" / "new").replace(tmp_path / "checkpoints" / "last.ckpt")
    with pytest.raises(UserError, match=r"last\.ckpt: is of another run"):
        run.newest()
    assert run.newest(fallback=True)[1] == 3


def stored(folder: Path, *iterations: int) -> Run:
    """A run with checkpoints that hold little, the newest under two names."""
    place = folder / "checkpoints"
    place.mkdir(parents=True)
    for iteration in iterations:
        path = place / f"kimg-{iteration:011.3f}.ckpt"
        content = {"state_dict": {"weight": torch.arange(1000)}, "global_step": iteration, "kimg": float(iteration)}
        torch.save(content, path)
    (place / "last.ckpt").hardlink_to(path)
    return Run(folder)


def flip(path: Path) -> None:
    """One bit, in the middle of the weights."""
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(1000).numpy().tobytes()) + 4000] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("damage", [flip, cut])
def test_a_damaged_checkpoint_is_named_and_passed_over_if_that_is_asked_for(damage, tmp_path):
    run = stored(tmp_path, 3, 6)
    assert run.newest() == (tmp_path / "checkpoints" / "last.ckpt", 6)
    damage(tmp_path / "checkpoints" / "last.ckpt")
    with pytest.raises(UserError, match=r"last\.ckpt is damaged(.|\n)*resume_fallback=true.*kimg-0000003\.000\.ckpt"):
        run.newest()
    assert run.newest(fallback=True) == (tmp_path / "checkpoints" / "kimg-0000003.000.ckpt", 3)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {
        "kimg-0000003.000.ckpt",
        "kimg-0000006.000.ckpt.damaged",  # nothing is thrown away
        "last.ckpt.damaged",
    }


def test_where_every_checkpoint_is_damaged_that_is_told_and_training_does_not_begin_anew(tmp_path):
    run = stored(tmp_path, 3)
    flip(tmp_path / "checkpoints" / "last.ckpt")
    for _ in range(2):
        with pytest.raises(UserError, match="none of its 2 checkpoints is intact"):
            run.newest(fallback=True)


def test_where_checkpoints_are_gone_training_does_not_begin_anew(tmp_path):
    assert Run(tmp_path).newest() is None  # cut off before its first one
    (tmp_path / "status.json").write_text('{"checkpoint": "kimg-0000006.000.ckpt"}')
    with pytest.raises(UserError, match="its checkpoints are gone"):
        Run(tmp_path).newest()


def test_a_checkpoint_that_holds_code_is_refused_and_the_code_not_run(tmp_path):
    run = stored(tmp_path / "run", 3)
    torch.save(
        {"state_dict": {"weight": Malicious(tmp_path / "mark")}, "global_step": 3, "kimg": 3.0}, tmp_path / "bad"
    )
    (tmp_path / "bad").replace(tmp_path / "run" / "checkpoints" / "last.ckpt")
    with pytest.raises(UserError, match=r"last\.ckpt: holds code \(pathlib\.Path\.touch|last\.ckpt: holds code"):
        run.newest()
    assert not (tmp_path / "mark").exists()
