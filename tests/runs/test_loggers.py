"""What is written: metrics.csv, and a W&B run read back from the disk with W&B's own tool."""

import csv
import json
import logging
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from conftest import ROOT, engine, fit, small_game
from sparring.runs.metrics_file import MetricsFile
from sparring.runs.wandb_run import WandbRun, has_key
from sparring.training.callbacks.sample_grids import SampleGrids
from watching import read_wandb


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_new_column_keeps_the_rows_that_are_there(tmp_path):
    log = MetricsFile(tmp_path / "metrics.csv")
    log.log_metrics({"kimg": 0.1, "loss": 1.0}, step=1)
    log.log_metrics({"kimg": 0.2, "score": 2.0}, step=2)
    log.log_metrics({"kimg": 0.3, "loss": 3.0, "score": 4.0}, step=3)
    assert [(r["iteration"], r["loss"], r["score"]) for r in rows(log.path)] == [
        ("1", "1.0", ""),
        ("2", "", "2.0"),
        ("3", "3.0", "4.0"),
    ]


def test_the_file_is_cut_back_to_the_checkpoint_on_resume(tmp_path):
    log = MetricsFile(tmp_path / "metrics.csv")
    for step in range(1, 6):
        log.log_metrics({"kimg": step / 10, "loss": step}, step=step)
    with open(log.path, "a") as file:
        file.write("6,0.")  # a row that a power cut left half-written
    again = MetricsFile(tmp_path / "metrics.csv", iteration=3)
    again.log_metrics({"kimg": 0.4, "loss": 40}, step=4)
    assert [r["iteration"] for r in rows(log.path)] == ["1", "2", "3", "4"]
    assert rows(log.path)[-1]["loss"] == "40"


def start_wandb(folder: Path, **options) -> WandbRun:
    run = WandbRun(folder, {"model": {"width": 8}}, lower_is_better=["fd_classifier"], mode="offline", **options)
    run.start()
    return run


def test_scalars_images_and_config_can_be_read_back_from_an_offline_run(tmp_path):
    run = start_wandb(tmp_path, name="loss-hinge", group="loss-hinge")
    module = engine(small_game(), log_every=2)
    grids = SampleGrids(tmp_path / "samples", every_kimg=0.016, count=4)
    trainer = fit(module, 4, callbacks=[grids], loggers=[run])
    module.trainer = trainer
    module.log_row({"scores/fd_classifier": 3.0})
    run.finish()

    text = json.dumps(read_wandb(tmp_path))
    history = [r["history"] for r in read_wandb(tmp_path) if "history" in r]
    assert "loss-hinge" in text and '\\"width\\"' in text or '"width"' in text
    assert history
    keys = json.dumps(history)
    for name in ("discriminator/adversarial", "kimg", "samples", "scores/fd_classifier"):
        assert name in keys, name
    assert list((tmp_path / "wandb").rglob("media/images/*.png"))


def test_the_run_id_is_kept_for_a_resumed_run(tmp_path):
    first = WandbRun(tmp_path, {}, mode="offline")
    assert WandbRun(tmp_path, {}, mode="offline")._id == first._id


def test_without_a_key_it_is_offline_by_itself_and_says_how_to_upload(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_MODE", "")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not has_key()
    with caplog.at_level(logging.INFO, "sparring.runs.wandb_run"):
        run = WandbRun(tmp_path, {})
        run.start()
        run.finish()
    assert "wandb sync" in caplog.text and str(tmp_path / "wandb") in caplog.text
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    assert has_key()


def test_training_goes_on_when_wandb_breaks_in_the_middle(tmp_path):
    """W&B's own process is killed while the real command trains."""
    options = ["model.width=8", "data.batch_size=16", "evaluation=none", "kimg=8", "trainer.log_every_n_steps=10"]
    with subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), *options, "trainer.accelerator=cpu", "hydra.run.dir=out"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"},  # not this process's
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        until = time.time() + 120
        while time.time() < until and not (tmp_path / "out" / "metrics.csv").exists():
            time.sleep(0.05)
        subprocess.run(["pkill", "-9", "-f", f"wandb-core.*{process.pid}"], check=True)
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 0, said
    assert [row["iteration"] for row in rows(tmp_path / "out" / "metrics.csv")] == [str(i) for i in range(10, 501, 10)]
    assert said.count("training goes on without it") == 1 and "Traceback" not in said


@pytest.mark.parametrize("answer", [401, 200])
def test_training_goes_on_when_the_server_refuses_the_key_or_answers_garbage(run, tmp_path, answer):
    class Server(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(answer)
            self.end_headers()
            self.wfile.write(b"\0garbage")

        do_GET = do_POST

        def log_message(self, *_):
            pass

    options = ["model=mlp", "model.width=8", "evaluation=none", "kimg=1", "trainer.log_every_n_steps=4"]
    options += ["trainer.accelerator=cpu", "logger.mode=online", "hydra.run.dir=out"]
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = f"http://127.0.0.1:{server.server_port}"
        done = run(*options, cwd=tmp_path, WANDB_BASE_URL=there, WANDB_API_KEY="k" * 40, WANDB_MODE="online")
        server.shutdown()
    said = done.stdout + done.stderr
    assert said.count("training goes on without it") == 1 and "Traceback" not in said, said
    assert "k" * 40 not in said
    assert [row["iteration"] for row in rows(tmp_path / "out" / "metrics.csv")] == [str(i) for i in range(4, 33, 4)]


def test_two_runs_in_one_process_do_not_mix(tmp_path):
    for name in ("a", "b"):
        run = start_wandb(tmp_path / name)
        run.log_metrics({"value": 1.0, "kimg": 1.0}, step=1)
        run.finish()
    assert len(list(tmp_path.glob("*/wandb/offline-run-*"))) == 2


def test_grids_of_the_same_noise_are_written_as_training_goes_on(tmp_path):
    grids = SampleGrids(tmp_path, every_kimg=0.016, count=4)
    fit(engine(small_game()), 4, callbacks=[grids])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"kimg-{kimg:011.3f}.png" for kimg in (0, 0.016, 0.032)]
    assert len({(tmp_path / name).read_bytes() for name in names}) == 3
