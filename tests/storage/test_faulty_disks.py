"""Full disks, folders without permission and damaged records are reported by path, and nothing older is lost."""

import csv
import json
import logging
import os
import resource
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from conftest import Projection, TensorSet, engine, fit, noise_images, small_game
from sparring.config.errors import UserError
from sparring.config.messages import explain
from sparring.data.array_file import ArrayFile
from sparring.data.cache import load
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.metrics.frechet_distance import FrechetDistance
from sparring.evaluation.references import References
from sparring.runs import store
from sparring.runs.metrics_file import MetricsFile
from sparring.storage import tensor_files
from sparring.storage.files import atomic_write, remove_partial
from sparring.training.callbacks.checkpoints import AtomicCheckpointIO
from sparring.training.callbacks.sample_grids import SampleGrids
from sparring.training.callbacks.scores import Scores


@contextmanager
def full(size: int = 0):
    """Let no file grow beyond ``size`` bytes: a write fails in the middle, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def disk(tmp_path):
    """A disk of 24 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be made here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def foreign_folder():
    """A folder that others may only read, and a context in which this process is one of the others."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)

    @contextmanager
    def nobody():
        root = os.geteuid() == 0
        for folder in (place, *(path for path in place.rglob("*") if path.is_dir())):
            folder.chmod(0o555)
        if root:
            os.seteuid(65534)
        try:
            yield
        finally:
            if root:
                os.seteuid(0)
            for folder in (place, *(path for path in place.rglob("*") if path.is_dir())):
                folder.chmod(0o755)

    yield place, nobody
    shutil.rmtree(place)


def test_a_checkpoint_without_space_is_reported_and_the_one_before_stays(disk):
    last = disk / "checkpoints" / "last.ckpt"
    weights = {"state_dict": {"w": torch.ones(2**21)}, "global_step": 1, "kimg": 0.1}
    AtomicCheckpointIO().save_checkpoint(weights, last)
    (disk / "other").write_bytes(bytes(13 * 2**20))
    path = disk / "checkpoints" / "kimg-0000001.000.ckpt"
    with pytest.raises(UserError) as error:
        AtomicCheckpointIO().save_checkpoint(weights | {"kimg": 1.0}, path)
    for part in (f"{path}: no space left", "MiB are free there", "takes 8 MiB", f"{last} is whole", f"resume={disk}"):
        assert part in str(error.value), part
    assert tensor_files.read_checkpoint(last)["kimg"] == 0.1
    assert [each.name for each in last.parent.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_that_is_cut_off_leaves_the_one_before(tmp_path):
    last = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"w": torch.ones(2**14)}, last)
    with full(2**12), pytest.raises(UserError, match=f"{last}: File too large.*takes 64 KiB"):
        AtomicCheckpointIO().save_checkpoint({"w": torch.zeros(2**14)}, last)
    assert tensor_files.read(last)["w"].all() and len(list(last.parent.iterdir())) == 1


class FullDisk(pl.Callback):
    """The disk is full from the third iteration to the sixth."""

    def on_train_batch_start(self, trainer, module, *rest):
        limit = 10 if 3 <= module.iteration + 1 <= 6 else 2**30
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    def on_train_batch_end(self, trainer, module, *rest):
        store.write_status(Path(trainer.loggers[0].path).parent, "running", iteration=module.iteration)


def test_rows_pictures_and_scores_that_can_not_be_written_do_not_end_training_and_are_reported_once(tmp_path, caplog):
    log, grids = MetricsFile(tmp_path / "metrics.csv"), SampleGrids(tmp_path / "samples", every_kimg=0.032, count=4)
    evaluator = Evaluator(
        Projection(), {"fd": FrechetDistance()}, every_kimg=0.008, samples=60, samples_during=60, seeds=1
    )
    reals = TensorSet(noise_images(64))
    scores = Scores(evaluator, References(reals), tmp_path, tmp_path / "cache")
    with caplog.at_level(logging.WARNING), full(2**30):
        fit(engine(small_game(), log_every=1), 8, [FullDisk(), grids, scores], [log])
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["generator/adversarial"]]
    assert [row["iteration"] for row in rows] == [str(i) for i in range(1, 9)]
    assert [entry["iteration"] for entry in store.read_scores(tmp_path)] == list(range(9))
    assert store.read_status(tmp_path)["iteration"] == 8
    names = {path.name for path in (tmp_path / "samples").iterdir()}
    assert len(names) == 2 and not any("0.032" in name for name in names), "those of iterations 0 and 8"
    for name in ("metrics.csv", "scores.json", "status.json", "samples"):
        assert caplog.text.count(f"{tmp_path / name}") == 1, caplog.text


def test_a_row_that_is_cut_off_leaves_nothing(tmp_path):
    log = MetricsFile(tmp_path / "metrics.csv")
    log.log_metrics({"kimg": 0.1, "loss": 1.0}, step=1)
    before = log.path.read_bytes()
    with full(len(before) + 5):
        log.log_metrics({"kimg": 0.2, "loss": 2.0}, step=2)
    assert log.path.read_bytes() == before
    log.finalize("success")
    assert log.path.read_bytes() == before + b"2,0.2,2.0\r\n"


@pytest.mark.slow
def test_a_run_whose_disk_fills_up_names_the_path_and_resumes_when_there_is_space(run, disk):
    small = ["model=mlp", "model.width=64", "evaluation=none", "trainer.accelerator=cpu", "logger.mode=offline"]
    small += ["kimg=2", "checkpoint.every_kimg=1", "checkpoint.keep=9", "hydra.run.dir=out", "grid.count=4"]
    (disk / "other").write_bytes(bytes(12 * 2**20))  # there is room for one checkpoint of 6.6 MiB
    failed = run(*small, cwd=disk, check=False)
    assert failed.returncode == 1 and "Traceback" not in failed.stderr, failed.stderr
    assert "ckpt: no space left on the disk" in failed.stderr and "resume=" in failed.stderr
    assert tensor_files.read_checkpoint(disk / "out" / "checkpoints" / "last.ckpt")["kimg"] == pytest.approx(1.024)
    (disk / "other").unlink()
    run("resume=out", "logger=none", cwd=disk)
    assert tensor_files.read_checkpoint(disk / "out" / "checkpoints" / "last.ckpt")["kimg"] >= 2


def test_a_read_only_cache_is_read_and_named_if_something_is_missing(foreign_folder):
    place, nobody = foreign_folder
    for name in "ab":
        np.save(place / f"{name}.npy", np.zeros((10, 8, 8), np.uint8))
    load(ArrayFile(str(place / "a.npy")), place / "cache")
    with nobody():
        assert len(load(ArrayFile(str(place / "a.npy")), place / "cache")) == 10
        with pytest.raises(PermissionError) as error:
            load(ArrayFile(str(place / "b.npy")), place / "cache")
    message = explain(error.value)
    assert str(place / "cache") in message and "no permission" in message and "cache=DIR" in message


def test_a_read_only_folder_is_named(foreign_folder):
    place, nobody = foreign_folder
    with nobody(), pytest.raises(OSError) as error, atomic_write(place / "outputs" / "run" / "config.yaml"):
        pass
    message = explain(error.value)
    assert str(place / "outputs") in message and "no permission" in message and "hydra.run.dir=DIR" in message


def stored(folder: Path) -> dict[str, bytes]:
    """Write the records of a run of two iterations."""
    entry = {"iteration": 1, "kimg": 0.1, "scores": {}, "protocol": {}}
    for name, content in (
        ("versions.json", {"packages": store.versions()["packages"]}),
        ("status.json", {"state": "stopped"}),
        ("scores.json", [entry, entry | {"iteration": 2}]),
    ):
        (folder / name).write_text(json.dumps(content))
    (folder / "metrics.csv").write_text("iteration,kimg,loss\n1,0.1,2.0\n2,0.2,3.0\n")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


DAMAGES = {"empty": b"", "cut": None, "garbage": b"{[\n1,2,3,4\n", "binary": bytes(range(256))}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["versions.json", "status.json", "scores.json", "metrics.csv"])
def test_a_damaged_record_is_named_and_none_is_changed(name, damage, tmp_path):
    before = stored(tmp_path)
    before[name] = before[name][:9] if DAMAGES[damage] is None else DAMAGES[damage]
    (tmp_path / name).write_bytes(before[name])
    with pytest.raises(UserError, match=f"{tmp_path / name} is damaged.*move it away"):
        store.prepare_resume(tmp_path, 1)
    store.write_status(tmp_path, "failed")
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {**left, "status.json": 0} == {**before, "status.json": 0}
    assert name != "status.json" or left[name] == before[name]


def test_missing_records_are_no_error(tmp_path):
    for name in stored(tmp_path):
        (tmp_path / name).unlink()
    store.prepare_resume(tmp_path, 1)
    MetricsFile(tmp_path / "metrics.csv", 1).log_metrics({"kimg": 0.2, "loss": 1.0}, step=2)
    assert store.read_status(tmp_path)["state"] == "running" and (tmp_path / "metrics.csv").exists()


def test_half_written_files_of_a_killed_run_are_removed_when_it_resumes(tmp_path):
    stored(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for place in (tmp_path, tmp_path / "checkpoints"):
        (place / ".last.ckpt.0123abcd.partial").touch()
        (place / "mine.partial").touch()
    store.prepare_resume(tmp_path, 1)
    assert [path.name for path in tmp_path.rglob("*partial")] == ["mine.partial"] * 2
    remove_partial(tmp_path)
