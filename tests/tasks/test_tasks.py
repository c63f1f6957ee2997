"""The real commands on real digits: train, stop, resume, start from weights, sample, score."""

import csv
import json
import shutil
import signal
import time

import numpy as np
import pytest
import torch
from PIL import Image

from commands import begin

NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
SMALL = ["data.batch_size=16", "logger=none", "evaluation=none", "trainer.accelerator=cpu"]


def weights(folder) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def logged(folder) -> list[dict]:
    """The rows of metrics.csv, but for the speed."""
    with open(folder / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "images_per_second"} for row in csv.DictReader(file)]


def assert_same_weights(one, other):
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory):
    """A small run with everything on: scores, grids, W&B, checkpoints."""
    folder = tmp_path_factory.mktemp("trained")
    small = ["model=dcgan", "model.conditional=true", "trainer.max_steps=40", "model.width=8", "data.batch_size=16"]
    small += ["trainer.log_every_n_steps=10", "evaluation.samples=200", "kimg=0.64", "trainer.accelerator=cpu"]
    return folder, run(*small, "hydra.run.dir=outputs/one", cwd=folder, cold=True)


def test_a_run_stores_its_config_log_scores_samples_and_checkpoints(trained):
    folder, done = trained[0] / "outputs" / "one", trained[1]
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.yaml", "overrides.yaml", "versions.json", "metrics.csv", "scores.json"}
    assert names >= {"samples", "checkpoints", "wandb"}
    scores = json.loads((folder / "scores.json").read_text())
    assert [entry["iteration"] for entry in scores] == [0, 8, 16, 24, 32, 40]
    assert set(scores[-1]["scores"]) == {
        *("fd_classifier", "classifier_score", "classifier_score_std", "precision", "recall", "density", "coverage"),
        *("classes_covered", "class_entropy", "label_accuracy"),
    }
    said = {"samples": 200, "reals": 5000, "split": "all", "extractor": "classifier", "image_size": [28, 28]}
    said |= {"ema": True, "batch_norm": "standing", "seeds": [0]}
    assert scores[-1]["protocol"] | said == scores[-1]["protocol"]
    assert scores[-1]["protocol"]["classifier_accuracy"] >= 0.95
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        "best_by_fd_classifier.ckpt",
        "kimg-0000000.576.ckpt",
        "kimg-0000000.640.ckpt",
        "last.ckpt",
    ]
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 40
    for said in ("fd_classifier", "Samples", "Checkpoint", "outputs/one", "task=sample"):
        assert said in done.stdout
    assert "wandb sync" in done.stdout + done.stderr and "images/s" in done.stderr


def test_the_stored_config_is_resolved_and_has_the_facts_of_the_data(trained):
    text = (trained[0] / "outputs" / "one" / "config.yaml").read_text()
    assert "${" not in text and "num_classes: 10" in text


def test_samples_of_a_run_are_those_of_the_classes_and_the_seed(trained, run):
    folder = trained[0]
    for out in ("a", "b"):
        wanted = ["sample.count=6", "sample.classes=[3,7]", "sample.frames=3", f"sample.folder={out}"]
        run("task=sample", "run=outputs/one", *wanted, cwd=folder, cold=out == "a")
    names = sorted(path.relative_to(folder / "a").as_posix() for path in (folder / "a").rglob("*.*"))
    assert names == ["grid.png", *(f"images/{i:05d}.png" for i in range(6)), "interpolation.gif"]
    for name in names:
        assert (folder / "a" / name).read_bytes() == (folder / "b" / name).read_bytes()
    assert Image.open(folder / "a" / "interpolation.gif").n_frames == 3
    run("task=sample", "run=outputs/one", "sample.count=6", "sample.seed=1", "sample.truncation=0.5", cwd=folder)
    (drawn,) = (folder / "outputs" / "one" / "samples").glob("*seed1")
    assert (drawn / "images" / "00000.png").read_bytes() != (folder / "a" / "images" / "00000.png").read_bytes()
    refused = run("task=sample", "run=outputs/one", "sample.classes=[10]", cwd=folder, check=False)
    assert refused.returncode == 1 and "classes are 0 to 9" in refused.stderr


def scores_of(folder) -> list[dict]:
    return json.loads((folder / "scores.json").read_text())


def test_a_finished_run_is_scored_again_with_the_same_result_or_with_other_settings(trained, run):
    folder = trained[0]
    during = scores_of(folder / "outputs" / "one")[5]
    done = run("task=evaluate", "run=outputs/one", cwd=folder, cold=True)
    again = scores_of(folder / "outputs" / "one")[-1]
    assert again["scores"] == pytest.approx(during["scores"]) and again["iteration"] == 40
    assert again["protocol"]["checkpoint"] == "last.ckpt" and "fd_classifier" in done.stdout
    options = ["evaluation.ema=false", "evaluation.seeds=2", "evaluation.samples=150", "data.split=test"]
    refused = run("task=evaluate", "run=outputs/one", *options, cwd=folder, check=False)
    assert refused.returncode == 1 and "data.split" in refused.stderr, "these data have no test split"
    best = "evaluation.checkpoint=best_by_fd_classifier"
    done = run("task=evaluate", "run=outputs/one", best, *options[:3], cwd=folder)
    entry = scores_of(folder / "outputs" / "one")[-1]
    assert entry["protocol"]["seeds"] == [0, 1] and entry["protocol"]["samples"] == 150
    assert entry["protocol"]["ema"] is False and "raw generator" in done.stdout
    assert entry["scores"]["fd_classifier_sd"] > 0 and "over 2 sampling seeds" in done.stdout
    refused = run("task=evaluate", "run=outputs/one", "model.width=16", cwd=folder, check=False)
    assert refused.returncode == 1 and "model.width: 8 in the run, 16 now" in refused.stderr


def test_an_override_counts_even_if_it_equals_the_current_default(trained, run, tmp_path):
    shutil.copytree(trained[0] / "outputs" / "one", tmp_path / "one")
    text = (config := tmp_path / "one" / "config.yaml").read_text()
    assert "splits: 10\n" in text
    config.write_text(text.replace("splits: 10\n", "splits: 5\n"))  # as if it had been the default then
    for typed, splits in ((["evaluation.metrics.inception_score.splits=10"], 10), ([], 5)):
        run("task=evaluate", "run=one", "evaluation.samples=100", *typed, cwd=tmp_path)
        assert scores_of(tmp_path / "one")[-1]["protocol"]["metrics"]["inception_score"]["splits"] == splits


def test_any_two_sets_of_images_are_scored(run, tmp_path, trained):
    digits = np.random.default_rng(0).integers(0, 255, (60, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "theirs.npz", arr_0=digits)
    np.savez(tmp_path / "few.npz", arr_0=digits[:3])
    fast = ["task=evaluate", "evaluation=fast"]
    done = run(*fast, "fake=theirs.npz", "real=mnist_mini", "hydra.run.dir=out", cwd=tmp_path)
    (entry,) = scores_of(tmp_path / "out")
    assert (entry["protocol"]["samples"], entry["protocol"]["reals"], entry["iteration"]) == (60, 5000, None)
    assert "theirs.npz" in done.stdout and entry["scores"]["fd_classifier"] > 10
    for wrong, said in (
        (["fake=theirs.npz"], "compared with which reals"),
        (["fake=nowhere", "real=mnist_mini"], "fake=nowhere: no such file"),
        (["fake=few.npz", "real=mnist_mini"], "3 images; scores want at least 50"),
        (["fake=theirs.npz", "real=mnist_mini", "evaluation.seeds=3"], "evaluation.seeds=3"),
        (["fake=theirs.npz", "real=mnits"], "real=mnits: no such file"),
        ([], "name one of them"),
    ):
        done = run(*fast, *wrong, cwd=tmp_path, check=False)
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr, done.stderr
    done = run("fake=theirs.npz", cwd=tmp_path, check=False)
    assert done.returncode == 1 and "only task=evaluate" in done.stderr


def test_without_weights_of_the_extractor_training_does_not_start(run, tmp_path):
    without = {"cwd": tmp_path, "check": False, "TORCH_HOME": str(tmp_path / "torch")} | NO_NETWORK
    done = run("evaluation=inception", "hydra.run.dir=out", **without)
    assert done.returncode == 1 and "evaluation.weights=FILE" in done.stderr and "evaluation=none" in done.stderr
    assert not (tmp_path / "out" / "config.yaml").exists() and "kimg" not in done.stderr


def test_resuming_equals_an_unbroken_run_mid_epoch_with_every_kind_of_state(run, tmp_path):
    """2N iterations equal N and N more: dropout, Adam, average, schedule, penalties, subset, flips, several turns."""
    options = [*SMALL, "model.width=8", "model/discriminator=mlp", "model.conditional=true", "kimg=0.8"]
    options += ["regularizer=[gradient_penalty,r1]", "regularizer.r1.every=3", "optimizer/schedule=cosine"]
    options += ["n_dis=2", "data.subset=100", "data.flip=true"]
    run(*options, "hydra.run.dir=whole", cwd=tmp_path)
    run(*options, "trainer.max_steps=11", "hydra.run.dir=parts", cwd=tmp_path)
    assert weights(tmp_path / "whole")["ema.network.layers.0.weight"].ndim == 4
    run("resume=parts", "trainer.max_steps=null", cwd=tmp_path)
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


LONG = [*SMALL, "model.width=8", "kimg=6.4", "checkpoint.every_kimg=0.16", "trainer.log_every_n_steps=20"]


@pytest.fixture(scope="module")
def unbroken(run, tmp_path_factory):
    """A run that was not stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    run(*LONG, "hydra.run.dir=whole", cwd=folder)
    return folder / "whole"


def test_a_run_that_was_stopped_resumes_as_if_it_had_not_been(unbroken, run, tmp_path):
    process = begin(*LONG, "hydra.run.dir=stopped", cwd=tmp_path)
    until = time.time() + 120
    while not (tmp_path / "stopped" / "checkpoints" / "last.ckpt").exists() and time.time() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + signal.SIGTERM
    assert "python run.py resume=" in said
    at = torch.load(tmp_path / "stopped" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert 0 < at < 400
    run("resume=stopped", cwd=tmp_path)
    assert_same_weights(unbroken, tmp_path / "stopped")
    assert [row["iteration"] for row in logged(tmp_path / "stopped")] == [str(i) for i in range(20, 401, 20)]
    assert logged(tmp_path / "stopped") == logged(unbroken)


def test_resuming_under_another_experiment_is_refused_naming_the_keys(trained, run):
    folder = trained[0]
    done = run("resume=outputs/one", "loss=hinge", "model.width=16", cwd=folder, check=False)
    assert done.returncode == 1
    assert "loss._target_: sparring.losses.NonSaturating in the run, sparring.losses.Hinge now" in done.stderr
    assert "model.width: 8 in the run, 16 now" in done.stderr
    assert "init=" in done.stderr
    done = run("resume=outputs/one", cwd=folder, check=False)
    assert done.returncode == 1 and "go on with a larger kimg=" in done.stderr


def test_resuming_for_longer_replaces_scores_after_the_checkpoint(trained, run):
    folder = trained[0]
    run("resume=outputs/one", "kimg=0.8", "trainer.max_steps=null", cwd=folder)
    scores = [e for e in scores_of(folder / "outputs" / "one") if "checkpoint" not in e["protocol"]]
    assert [e["iteration"] for e in scores] == [0, 8, 16, 24, 32, 40, 50]
    assert len(list((folder / "outputs" / "one" / "wandb").glob("offline-run-*"))) == 2


def test_a_run_starts_from_weights_of_another_if_their_shapes_fit(run, tmp_path):
    small = [*SMALL, "model.width=8"]
    run(*small, "trainer.max_steps=5", "hydra.run.dir=first", cwd=tmp_path)
    other = ["trainer.max_steps=1", "loss=hinge", "optimizer.generator.lr=0.0", "init=first", "hydra.run.dir=second"]
    run(*small, *other, cwd=tmp_path)
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert torch.equal(first["game.generator.layers.0.weight"], second["game.generator.layers.0.weight"])
    done = run(*SMALL, "model.width=16", "init=first", cwd=tmp_path, check=False)
    assert done.returncode == 1 and "do not fit" in done.stderr and "game.generator.layers" in done.stderr


def test_a_folder_of_images_is_trained_on(run, tmp_path):
    draw = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / "mine" / name / "deep").mkdir(parents=True)
        for i in range(20):
            pixels = draw.integers(0, 255, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "mine" / name / "deep" / f"{i}.jpg")
    (tmp_path / "mine" / "cats" / "broken.png").write_bytes(b"no image")
    options = ["data=image_folder", "data.path=mine", "data.image_size=32", "model.width=8", "trainer.max_steps=2"]
    options += ["logger=none", "evaluation=none"]
    done = run(*options, cwd=tmp_path, check=False)
    assert done.returncode == 1 and "broken.png" in done.stderr and "data.on_bad_image=skip" in done.stderr
    labelled = ["data.labels=true", "model.conditional=true", "data.on_bad_image=skip", "hydra.run.dir=out"]
    done = run(*options, *labelled, cwd=tmp_path)
    assert "1 unreadable images were left out" in done.stdout + done.stderr
    assert Image.open(next((tmp_path / "out" / "samples").glob("*0.128.png"))).mode == "RGB"


def test_if_celeba_cannot_be_downloaded_the_message_says_which_files_go_where(run, tmp_path):
    without = {"cwd": tmp_path, "check": False, "SPARRING_CACHE": str(tmp_path / "cache")} | NO_NETWORK
    done = run("model=dcgan", "data=celeba", "evaluation=none", **without)
    assert done.returncode == 1
    files = ["img_align_celeba", "list_eval_partition.txt"]
    for said in ("CelebA could not be downloaded", *files, str(tmp_path / "cache"), "data.path=DIR"):
        assert said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_resuming_may_change_keys_that_do_not_affect_weights_and_keeps_the_schedule(run, tmp_path):
    run(*SMALL, "model.width=8", "kimg=0.16", "optimizer/schedule=linear", "hydra.run.dir=out", cwd=tmp_path)
    judged = ["evaluation=fast", "evaluation.samples=60", "logger=wandb"]
    done = run("resume=out", "kimg=0.32", *judged, cwd=tmp_path)
    assert "fd_classifier" in done.stdout and (tmp_path / "out" / "wandb").is_dir()
    done = run("resume=out", "kimg=0.48", cwd=tmp_path)
    assert "fd_classifier" not in done.stdout
    with open(tmp_path / "out" / "overrides.yaml") as file:
        assert "optimizer/schedule=linear" in file.read()
    done = run("resume=out", "kimg=0.64", "optimizer.schedule.end_kimg=0.64", cwd=tmp_path, check=False)
    assert done.returncode == 1 and "optimizer.schedule.end_kimg: 0.16 in the run, 0.64 now" in done.stderr
