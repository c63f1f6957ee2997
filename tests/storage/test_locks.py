"""Processes that need the same data: one decodes them, the others wait and say so, and a killed one is replaced."""

import logging
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from commands import WARM
from sparring.config.errors import UserError
from sparring.data.array_file import ArrayFile
from sparring.data.cache import load
from sparring.storage.locks import lock_run, one_at_a_time


class Slow(ArrayFile):
    """Writes a line for each decoding and pauses while there is a file ``hold``."""

    def __iter__(self):
        with open(self.path.with_name("decodings"), "a") as file:
            file.write("once\n")
        for example in super().__iter__():
            while self.path.with_name("hold").exists():
                time.sleep(0.02)
            yield example


def load_slowly(folder: Path, log_file: Path) -> None:
    logging.basicConfig(filename=log_file, level=logging.INFO)
    data = load(Slow(str(folder / "mine.npy")), folder / "cache")
    assert np.array_equal(data.columns["images"][:, 0].numpy(), np.load(folder / "mine.npy"))


def begin(work, *arguments):
    process = WARM.Process(target=work, args=arguments)
    process.start()
    return process


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_of_four_processes_one_decodes_the_others_wait_and_one_takes_over_when_it_is_killed(tmp_path):
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).integers(0, 256, (10, 8, 8), dtype=np.uint8))
    (tmp_path / "hold").touch()
    first = begin(load_slowly, tmp_path, tmp_path / "first")
    until((tmp_path / "decodings").exists)
    logs = [tmp_path / name for name in "abc"]
    others = [begin(load_slowly, tmp_path, log) for log in logs]
    until(lambda: all(log.exists() and "waiting for another process" in log.read_text() for log in logs))
    assert all("the decoded data of mine" in log.read_text() for log in logs)

    os.kill(others[2].pid, signal.SIGTERM)
    others[2].join(10)
    assert others[2].exitcode == -signal.SIGTERM, "a signal ends the waiting"
    first.kill()
    first.join()
    assert list((tmp_path / "cache" / "datasets").glob(".*.partial")), "it was killed while it wrote"
    (tmp_path / "hold").unlink()
    for process in others[:2]:
        process.join(30)
    assert [process.exitcode for process in others[:2]] == [0, 0]
    assert (tmp_path / "decodings").read_text() == 2 * "once\n"
    assert [path.name[:9] for path in (tmp_path / "cache" / "datasets").iterdir()] == ["mine-8px-"]


def test_without_a_place_for_locks_reading_works(tmp_path):
    (tmp_path / "file").touch()
    with one_at_a_time(tmp_path / "file" / "datasets" / "digits"):
        done = True
    assert done


def hold(folder: Path) -> None:
    with lock_run(folder):
        (folder / "held").touch()
        time.sleep(60)


def test_a_run_is_not_resumed_while_another_process_trains_it(tmp_path):
    process = begin(hold, tmp_path)
    until((tmp_path / "held").exists)
    with pytest.raises(UserError, match=f"{tmp_path}: is being trained by another process"), lock_run(tmp_path, 0):
        pass
    process.kill()
    process.join()
    with lock_run(tmp_path):
        done = True
    assert done, "a killed process holds no lock"
