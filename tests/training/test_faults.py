"""Runs that are killed, stopped or damaged. ``python tests/faults.py`` kills them and their ranks at more moments."""

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
def test_a_killed_run_resumes_as_if_nothing_had_happened(moment, faults):
    outcome = faults.kill_and_resume(moment.replace(" ", "-"), moment, random.Random(moment))
    assert outcome.under_way and outcome.same and outcome.repeated <= EVERY


@pytest.mark.slow
def test_asked_to_stop_in_an_evaluation_a_run_leaves_at_once_and_repeats_the_evaluation_when_resumed(faults, run):
    """The evaluation would take minutes; the resumed run makes as many samples as the one that was not interrupted."""
    place, many = faults.folder / "asked", "evaluation.samples_during=500000"
    process = begin(*SETTINGS, many, "hydra.run.dir=asked", f"cache={faults.folder}/cache", cwd=faults.folder)
    end, status = time.monotonic() + 100, place / "status.json"
    while not status.exists() or '"device"' not in status.read_text():  # training begins, with an evaluation
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGUSR1)
    asked = time.monotonic()
    output = process.communicate(timeout=60)[0]
    assert time.monotonic() - asked < 30
    assert process.returncode == 128 + signal.SIGUSR1 and f"Go on with: python run.py resume={place}" in output
    assert not entries(place)

    run("resume=asked", "evaluation.samples_during=500", f"cache={faults.folder}/cache", cwd=faults.folder)
    assert contents(place) == faults.whole


def receive(output: Path, numbers: list[int], training: bool, grace: float) -> None:
    """In a process: receive signals, 0.6 s apart, and continue for half a minute unless they stop it."""
    for stream in (1, 2):
        os.dup2(os.open(output, os.O_CREAT | os.O_APPEND | os.O_WRONLY), stream)
    signals.GRACE = grace
    with signals.Stop() as stop:
        stop.training, stop.command = training, "COMMAND"
        stop.before_exit = lambda: print("marked", flush=True)
        for number in numbers:
            signal.raise_signal(number)
            time.sleep(0.6)
        time.sleep(30)


@pytest.mark.parametrize(
    ("numbers", "training", "grace", "status", "message"),
    [
        ([signal.SIGINT, signal.SIGINT], True, 20, 130, "Left at once"),
        ([signal.SIGTERM, signal.SIGINT, signal.SIGINT], True, 20, 143, "Left at once"),
        ([signal.SIGUSR1], True, 0.3, 138, "Not done within"),
        ([signal.SIGTERM], False, 20, 143, "stopped before training began"),
    ],
)
def test_who_sends_signals_is_not_kept_waiting(numbers, training, grace, status, message, tmp_path):
    process = commands.WARM.Process(target=receive, args=(tmp_path / "output", numbers, training, grace))
    start = time.monotonic()
    process.start()
    process.join(25)
    assert process.exitcode == status and time.monotonic() - start < 15
    output = (tmp_path / "output").read_text()
    assert message in output and "Go on with: COMMAND" in output and ("marked" in output) == training


def test_a_run_does_not_start_over_another(faults, run):
    before = contents(faults.folder / "whole")
    done = run(*SETTINGS, "hydra.run.dir=whole", f"cache={faults.folder}/cache", cwd=faults.folder, check=False)
    assert done.returncode == 1 and "holds a run already" in done.stderr
    done = run(*SETTINGS, "run=whole", f"cache={faults.folder}/cache", cwd=faults.folder, check=False)
    assert done.returncode == 1 and "task=train does not read it" in done.stderr
    assert contents(faults.folder / "whole") == before


def test_another_runs_checkpoint_is_not_resumed(tmp_path):
    run = stored(tmp_path, 3)
    (tmp_path / "versions.json").write_text('{"run": "mine"}')
    torch.save({"state_dict": {}, "global_step": 5, "kimg": 5.0, "run": "another"}, tmp_path / "checkpoints" / "new")
    (tmp_path / "checkpoints" / "new").replace(tmp_path / "checkpoints" / "last.ckpt")
    with pytest.raises(UserError, match=r"last\.ckpt: is of another run"):
        run.newest()
    assert run.newest(fallback=True)[1] == 3


def stored(folder: Path, *iterations: int) -> Run:
    """A run with small checkpoints, the newest under two names."""
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
def test_a_damaged_checkpoint_is_named_and_skipped_with_resume_fallback(damage, tmp_path):
    run = stored(tmp_path, 3, 6)
    assert run.newest() == (tmp_path / "checkpoints" / "last.ckpt", 6)
    damage(tmp_path / "checkpoints" / "last.ckpt")
    with pytest.raises(UserError, match=r"last\.ckpt is damaged(.|\n)*resume_fallback=true.*kimg-0000003\.000\.ckpt"):
        run.newest()
    assert run.newest(fallback=True) == (tmp_path / "checkpoints" / "kimg-0000003.000.ckpt", 3)
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}  # nothing is deleted
    assert names == {"kimg-0000003.000.ckpt", "kimg-0000006.000.ckpt.damaged", "last.ckpt.damaged"}


def test_if_all_checkpoints_are_damaged_training_does_not_start_again(tmp_path):
    run = stored(tmp_path, 3)
    flip(tmp_path / "checkpoints" / "last.ckpt")
    for _ in range(2):
        with pytest.raises(UserError, match="none of its 2 checkpoints is intact"):
            run.newest(fallback=True)


def test_if_checkpoints_are_missing_training_does_not_start_again(tmp_path):
    assert Run(tmp_path).newest() is None  # cut off before its first one
    (tmp_path / "status.json").write_text('{"checkpoint": "kimg-0000006.000.ckpt"}')
    with pytest.raises(UserError, match="its checkpoints are gone"):
        Run(tmp_path).newest()


def test_a_checkpoint_that_holds_code_is_refused_and_the_code_not_run(tmp_path):
    run = stored(tmp_path / "run", 3)
    content = {"state_dict": {"weight": Malicious(tmp_path / "mark")}, "global_step": 3, "kimg": 3.0}
    torch.save(content, tmp_path / "bad")
    (tmp_path / "bad").replace(tmp_path / "run" / "checkpoints" / "last.ckpt")
    with pytest.raises(UserError, match=r"last\.ckpt: holds code"):
        run.newest()
    assert not (tmp_path / "mark").exists()
