"""Ranks as a person starts them: by run.py, in a sweep, by torchrun; and how they end."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import torch

from commands import begin
from conftest import ROOT
from faults import ranks_of
from sparring.config.errors import UserError
from sparring.distributed.launch import devices_of

SMALL = ["model=mlp", "model.discriminator.dropout=0.0", "data.subset=200", "data.batch_size=8", "model.width=8"]
QUIET = ["logger=none", "evaluation=none", "grid.count=4"]
SCORED = ["evaluation.samples=100", "evaluation.samples_during=50", "evaluation.reals=200"]
DOUBLE = [*SMALL, "n_dis=2", "trainer.precision=64-true", "trainer.max_steps=20", "trainer.log_every_n_steps=10"]
ENDLESS = ["kimg=2000", "checkpoint.every_kimg=0.5", "grid.every_kimg=1000"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def furthest(a: dict, b: dict) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


def ranks_with_checkpoint(process: subprocess.Popen, folder: Path) -> list[int]:
    """Wait for a checkpoint and return the process numbers of the ranks."""
    deadline = time.monotonic() + 120
    while not (folder / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.1)
    return ranks_of(process.pid)


@pytest.fixture(scope="module")
def swept(run, tmp_path_factory) -> list[Path]:
    """The runs of a sweep of two losses, on two ranks each."""
    place = tmp_path_factory.mktemp("swept")
    run("-m", "trainer=ddp_cpu", "loss=hinge,lsgan", *DOUBLE, *SCORED, "grid.count=4", cwd=place)
    assert not (place / "outputs").exists()
    return sorted((place / "multirun").glob("*/*/loss-*/"))


@pytest.mark.slow
def test_each_job_of_a_sweep_runs_once_on_two_ranks_and_equals_one_rank(run, tmp_path, swept):
    assert [folder.name for folder in swept] == ["loss-hinge", "loss-lsgan"]
    for folder, loss in zip(swept, ("hinge", "lsgan"), strict=True):
        typed = json.loads((folder / "overrides.yaml").read_text())
        assert f"loss={loss}" in typed and "-m" not in typed
        assert len((folder / "metrics.csv").read_text().splitlines()) == 1 + 2 + 2  # header, rows of the log, scores
        assert len(list((folder / "wandb").glob("offline-run-*"))) == 1  # the first rank's alone
        assert len(json.loads((folder / "scores.json").read_text())) == 2
        assert len(list((folder / "samples").glob("kimg-*.png"))) == 2  # at the start and at the end

    run("loss=lsgan", *DOUBLE, "data.batch_size=16", *QUIET, f"hydra.run.dir={tmp_path}/one", cwd=tmp_path)
    assert furthest(weights(tmp_path / "one"), weights(swept[1])) < 1e-10

    run("task=evaluate", f"run={swept[1]}", "evaluation.samples=100", "evaluation.reals=200", cwd=tmp_path)  # one rank
    before, now = json.loads((swept[1] / "scores.json").read_text())[-2:]
    assert now["scores"].keys() == before["scores"].keys()
    for name, value in before["scores"].items():
        assert now["scores"][name] == pytest.approx(value, rel=1e-3, abs=1e-6), name


@pytest.mark.slow
def test_a_killed_rank_ends_the_run_which_resumes_with_any_number_of_ranks(run, tmp_path):
    process = begin(*SMALL, *QUIET, *ENDLESS, "trainer=ddp_cpu", f"hydra.run.dir={tmp_path}/r", cwd=tmp_path)
    second = ranks_with_checkpoint(process, tmp_path / "r")[1]
    os.kill(second, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and f"rank 1 (process {second}) was killed by SIGKILL" in output
    assert "Connection" not in output  # what the other rank met is not what happened

    refused = run("resume=r", "trainer=cpu", "kimg=3000", cwd=tmp_path, check=False)
    assert refused.returncode == 1 and "global batch is 16 (data.batch_size=8 on 2 ranks)" in refused.stderr
    stored = torch.load(tmp_path / "r" / "checkpoints" / "last.ckpt", weights_only=True)
    run("resume=r", "trainer=cpu", "data.batch_size=16", f"kimg={stored['kimg'] + 0.16}", cwd=tmp_path)
    assert torch.load(tmp_path / "r" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == (
        stored["global_step"] + 10
    )


@pytest.mark.slow
def test_a_rank_that_fails_is_quoted_once_and_takes_the_others_down(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from sparring.losses import Hinge\n"
        "from sparring.distributed.collectives import rank\n"
        "class Mine(Hinge):\n"
        "    def generator(self, fake, real=None):\n"
        "        if rank() == 1:\n"
        "            raise RuntimeError('the second rank has had enough')\n"
        "        return -fake\n"
    )
    arguments = [*SMALL, *QUIET, "loss._target_=mine.Mine", "trainer=ddp_cpu", "kimg=1"]
    output, _ = (process := begin(*arguments, cwd=tmp_path, PYTHONPATH=str(tmp_path))).communicate(timeout=90)
    assert process.returncode == 1
    assert output.count("the second rank has had enough") == 2  # its line of the source, and the error
    assert "rank 1 failed:\nTraceback" in output and output.count("Traceback") == 1


@pytest.mark.slow
def test_asked_to_stop_all_ranks_store_one_checkpoint(tmp_path):
    process = begin(*SMALL, *QUIET, *ENDLESS, "trainer=ddp_cpu", f"hydra.run.dir={tmp_path}/r", cwd=tmp_path)
    ranks_with_checkpoint(process, tmp_path / "r")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert output.count("training stops after this iteration") == output.count("Stopped at") == 1


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 4])  # before a rank has imported anything, and while it starts
def test_ranks_do_not_outlive_the_process_that_started_them(seconds, tmp_path):
    process = begin(*SMALL, *QUIET, *ENDLESS, "trainer=ddp_cpu", f"hydra.run.dir={tmp_path}/r", cwd=tmp_path)
    while len(ranks := ranks_of(process.pid)) < 2:
        time.sleep(0.05)
    time.sleep(seconds)
    process.kill()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{rank}").exists() for rank in ranks):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_two_nodes_rehearsed_on_one_machine_are_two_ranks(tmp_path, swept):
    typed = ["loss=lsgan", *DOUBLE, *QUIET, "trainer=ddp_cpu", "trainer.devices=1", "trainer.num_nodes=2"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = [
        subprocess.Popen(
            [*("torchrun", "--nnodes=2", f"--node-rank={node}", "--nproc-per-node=1", f"--master-port={port}")]
            + ["--master-addr=127.0.0.1", str(ROOT / "run.py"), *typed],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for node in (0, 1)
    ]
    outputs = [node.communicate(timeout=120)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    assert "Checkpoint" in outputs[0] and "Checkpoint" not in outputs[1]
    (folder,) = (tmp_path / "outputs").glob("*/*")  # the first node's, and none beside it
    assert furthest(weights(swept[1]), weights(folder)) == 0


@pytest.mark.slow
def test_the_cost_of_ranks_is_the_parameters_of_each_turn_and_no_more(run, tmp_path):
    measured = ["task=benchmark", "benchmark=scaling", "benchmark.iterations=3", "benchmark.rounds=1"]
    output = run(*measured, *SMALL, *QUIET, "trainer=ddp_cpu", "n_dis=2", cwd=tmp_path).stdout
    (path,) = tmp_path.glob("outputs/*/*/benchmark.json")
    found = json.loads(path.read_text())
    players = found["parameters"]
    assert found["ranks"] == 2
    assert found["gradient_bytes_an_iteration"] == (2 * players["discriminator"] + players["generator"]) * 4
    assert {"whole", "waiting", "averaging", "bytes"} == found["turns_ms"]["generator"].keys()
    assert [p["gpus"] for p in found["projection"]] == [8, 64]
    assert "assumes a ring all-reduce" in output and re.search(r"gpus +8\b", output)


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_nccl_with_one_process_runs_the_same_code(run, tmp_path):
    dcgan = ["model=dcgan", *SMALL[2:], *QUIET, "trainer.max_steps=20", "trainer.sync_batchnorm=true", "n_dis=2"]
    for name in ("ddp", "gpu"):
        run(*dcgan, f"trainer={name}", "trainer.devices=1", f"hydra.run.dir={tmp_path}/{name}", cwd=tmp_path)
    assert furthest(weights(tmp_path / "ddp"), weights(tmp_path / "gpu")) < 1e-3


@pytest.mark.parametrize(
    ("overrides", "outside", "said"),
    [
        (["trainer=ddp"], None, "trainer.accelerator=gpu: PyTorch sees no CUDA GPU here"),
        (["trainer=ddp_cpu", "trainer.sync_batchnorm=true"], None, "trainer.sync_batchnorm=true: PyTorch has"),
        (["trainer=ddp_cpu", "task=sample", "run=x"], None, "task=sample runs in one process"),
        ([], {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}, "say trainer=ddp_cpu trainer.devices=2 trainer.num_nodes=2"),
        (
            ["trainer=ddp_cpu"],
            {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4"},
            "4 processes were started, 4 on this machine",
        ),
    ],
)
def test_ranks_that_cannot_be_are_refused_by_name(overrides, outside, said, composed, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match=said):
        devices_of(composed(*overrides), outside)


def test_nodes_without_an_address_of_the_first_are_refused(run, tmp_path):
    refused = run(*SMALL, *QUIET, "trainer=ddp_cpu", "trainer.num_nodes=2", cwd=tmp_path, check=False)
    assert refused.returncode == 1 and "MASTER_ADDR, MASTER_PORT, NODE_RANK must be set" in refused.stderr
