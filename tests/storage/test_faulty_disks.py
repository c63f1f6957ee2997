"""Full disks, folders without permission, damaged records: told by path, and nothing older is lost."""

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
import torch

from conftest import engine, fit, small_game
from sparring.config.errors import UserError
from sparring.config.messages import explain
from sparring.data.array_files import ArrayFile
from sparring.data.cache import load
from sparring.runs import store
from sparring.runs.metrics_file import MetricsFile
from sparring.storage import tensor_files
from sparring.storage.files import atomic_write, remove_partial
from sparring.training.callbacks.checkpoints import AtomicCheckpointIO
from sparring.training.callbacks.sample_grids import SampleGrids
from sparring.training.callbacks.scores import Scores


@contextmanager
def full(size: int = 0):
    """No file may be written beyond so many bytes: works everywhere, and fails in the midst of a write as a full disk does."""
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
def somebody():
    """A folder of theirs in which everybody may read and nobody else may write, and a way to be nobody."""
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


def test_a_checkpoint_for_which_there_is_no_space_is_told_and_the_one_before_stays(disk):
    last = disk / "checkpoints" / "last.ckpt"
    weights = {"state_dict": {"w": torch.ones(2**21)}, "global_step": 1, "kimg": 0.1}
    AtomicCheckpointIO().save_checkpoint(weights, last)
    (disk / "other").write_bytes(bytes(13 * 2**20))
    path = disk / "checkpoints" / "kimg-0000001.000.ckpt"
    with pytest.raises(UserError) as told:
        AtomicCheckpointIO().save_checkpoint(weights | {"kimg": 1.0}, path)
    for part in (f"{path}: no space left", "MiB are free there", "takes 8 MiB", f"{last} is whole", f"resume={disk}"):
        assert part in str(told.value), part
    assert tensor_files.read_checkpoint(last)["kimg"] == 0.1
    assert [each.name for each in last.parent.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_that_can_not_be_written_to_its_end_leaves_the_one_before(tmp_path):
    last = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"w": torch.ones(2**14)}, last)
    with full(2**12), pytest.raises(UserError, match=f"{last}: File too large.*takes 64 KiB"):
        AtomicCheckpointIO().save_checkpoint({"w": torch.zeros(2**14)}, last)
    assert tensor_files.read(last)["w"].all() and len(list(last.parent.iterdir())) == 1


def test_rows_pictures_and_scores_that_can_not_be_written_end_nothing_and_are_told_once(tmp_path, caplog):
    log, grids = MetricsFile(tmp_path / "metrics.csv"), SampleGrids(tmp_path / "samples", every_kimg=0.016, count=4)
    scores = Scores(None, None, tmp_path, "")
    module = engine(small_game(), log_every=1)
    written, row = module.log_row, {"scores": {}, "protocol": {}, "kimg": 0.0, "iteration": 0}

    def log_row(values):
        """The disk is full from the third iteration to the sixth."""
        with full(10) if 3 <= module.iteration <= 6 else full(2**30):
            scores.record(row | {"iteration": module.iteration}, {})
            store.write_status(tmp_path, "running", iteration=module.iteration)
            written(values)
            if module.iteration in (4, 8):
                grids.draw(module.trainer, module)

    module.log_row = log_row
    with caplog.at_level(logging.WARNING):
        fit(module, 8, [], [log])
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["iteration"] for r in rows] == [str(i) for i in range(1, 9)] and all(
        r["generator/adversarial"] for r in rows
    )
    assert [entry["iteration"] for entry in store.read_scores(tmp_path)] == list(range(1, 9))
    assert store.read_status(tmp_path)["iteration"] == 8 and len(list((tmp_path / "samples").iterdir())) == 1
    for name in ("metrics.csv", "scores.json", "status.json", "samples"):
        assert caplog.text.count(f"{tmp_path / name}") == 1, caplog.text


def test_of_a_row_that_can_not_be_written_to_its_end_nothing_is_left(tmp_path):
    log = MetricsFile(tmp_path / "metrics.csv")
    log.log_metrics({"kimg": 0.1, "loss": 1.0}, step=1)
    before = log.path.read_bytes()
    with full(len(before) + 5):
        log.log_metrics({"kimg": 0.2, "loss": 2.0}, step=2)
    assert log.path.read_bytes() == before
    log.finalize("success")
    assert log.path.read_bytes() == before + b"2,0.2,2.0\r\n"


@pytest.mark.slow
def test_a_run_whose_disk_fills_up_ends_with_the_path_and_goes_on_when_there_is_room(run, disk):
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


def test_a_cache_that_may_only_be_read_is_read_and_one_that_lacks_something_is_named(somebody):
    place, nobody = somebody
    for name in "ab":
        np.save(place / f"{name}.npy", np.zeros((10, 8, 8), np.uint8))
    load(ArrayFile(str(place / "a.npy")), place / "cache")
    with nobody():
        assert len(load(ArrayFile(str(place / "a.npy")), place / "cache")) == 10
        with pytest.raises(PermissionError) as error:
            load(ArrayFile(str(place / "b.npy")), place / "cache")
    told = explain(error.value)
    assert str(place / "cache") in told and "no permission" in told and "cache=DIR" in told


def test_a_folder_in_which_nothing_may_be_written_is_named(somebody):
    place, nobody = somebody
    with nobody(), pytest.raises(OSError) as error, atomic_write(place / "outputs" / "run" / "config.yaml"):
        pass
    told = explain(error.value)
    assert str(place / "outputs") in told and "no permission" in told and "hydra.run.dir=DIR" in told


def stored(folder: Path) -> dict[str, bytes]:
    """What lies beside the checkpoints of a run of two iterations."""
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
    store.write_status(tmp_path, "failed")  # as a run that ends so is marked
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {**left, "status.json": 0} == {**before, "status.json": 0}
    assert name != "status.json" or left[name] == before[name]


def test_records_that_are_missing_are_no_reason_to_stop(tmp_path):
    for name in stored(tmp_path):
        (tmp_path / name).unlink()
    store.prepare_resume(tmp_path, 1)
    MetricsFile(tmp_path / "metrics.csv", 1).log_metrics({"kimg": 0.2, "loss": 1.0}, step=2)
    assert store.read_status(tmp_path)["state"] == "running" and (tmp_path / "metrics.csv").exists()


def test_what_a_killed_run_left_half_written_is_removed_when_it_is_gone_on_with(tmp_path):
    stored(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for place in (tmp_path, tmp_path / "checkpoints"):
        (place / ".last.ckpt.0123abcd.partial").touch()
        (place / "mine.partial").touch()
    store.prepare_resume(tmp_path, 1)
    assert [path.name for path in tmp_path.rglob("*partial")] == ["mine.partial"] * 2
    remove_partial(tmp_path)
