"""What happens beside training: warnings, checkpoints that are kept, the bar, evaluation."""

import csv
import json
import logging

import pytest
import pytorch_lightning as pl
import torch

from conftest import Projection, blobs, engine, fit, small_game
from sparring.data.dataset import Data
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.image_sets import Decoded
from sparring.evaluation.metrics.class_coverage import ClassCoverage
from sparring.evaluation.metrics.frechet_distance import FrechetDistance
from sparring.evaluation.metrics.prdc import PRDC
from sparring.evaluation.references import References
from sparring.runs.metrics_file import MetricsFile
from sparring.runs.store import numbered_checkpoints
from sparring.training.callbacks.checkpoints import Checkpoints
from sparring.training.callbacks.health import Health
from sparring.training.callbacks.progress import Progress
from sparring.training.callbacks.scores import Scores


def winning_game():
    game = small_game()
    discriminate = game.discriminate

    def judged(images, condition):
        return (
            discriminate(images, condition) + 100 * (images.amax((1, 2, 3)) > 0.2).float()
        )  # only reals are so bright

    game.discriminate = judged
    with torch.no_grad():
        game.generator.layers[-3].weight.mul_(0.01)
    return game


def test_a_discriminator_that_wins_outright_is_told_once(caplog):
    with caplog.at_level(logging.WARNING):
        fit(engine(winning_game(), log_every=1, lr=1e-6), 12, [Health(rows=3)])
    assert caplog.text.count("D wins outright") == 1 and "regularizer=[r1]" in caplog.text


def test_images_that_are_nearly_the_same_are_told_once(caplog):
    game = small_game()
    with torch.no_grad():
        game.generator.layers[0].weight.zero_()  # whatever the noise, one image
    with caplog.at_level(logging.WARNING):
        fit(engine(game, log_every=1, lr=1e-6), 12, [Health(rows=3)])
    assert caplog.text.count("the generated images are nearly the same") == 1


def test_a_healthy_game_is_not_warned_of(caplog):
    game = small_game()
    with torch.no_grad():
        game.generator.layers[0].weight.mul_(100)  # images that differ, judged by a D that knows nothing yet
    columns = {"images": torch.randint(0, 256, (96, 1, 8, 8), dtype=torch.uint8)}
    with caplog.at_level(logging.WARNING):
        fit(engine(game, columns, log_every=1, lr=1e-6), 12, [Health(rows=3)])
    assert "nearly the same" not in caplog.text and "wins" not in caplog.text


def test_the_newest_checkpoints_are_kept_and_last_is_the_newest(tmp_path):
    module = engine(small_game())
    fit(module, 10, [Checkpoints(tmp_path, every_kimg=0.016, keep=2)])
    assert [path.name for path in numbered_checkpoints(tmp_path)] == ["kimg-0000000.064.ckpt", "kimg-0000000.080.ckpt"]
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 10
    assert module.last_checkpoint == tmp_path / "kimg-0000000.080.ckpt"


def test_the_bar_shows_kimg_speed_time_left_and_losses(capsys):
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=20, max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_model_summary=False, callbacks=[Progress()],
    )  # fmt: skip
    trainer.fit(engine(small_game(), log_every=2))
    last = capsys.readouterr().err.strip().splitlines()[-1]
    for part in ("kimg 0.2/0.2", "images/s", "discriminator", "generator", "D(x)", "<"):
        assert part in last, last


class Counting(Projection):
    """Counts the images that it is shown, of all that were built."""

    seen_by_all = 0

    def __call__(self, images):
        Counting.seen_by_all += len(images)
        return super().__call__(images)


def scored_by(data: Data, folder, **options) -> Scores:
    metrics = options.pop("metrics", {"fd": FrechetDistance(), "prdc": PRDC(), "classes": ClassCoverage()})
    evaluator = Evaluator(
        Counting(), metrics, **({"samples": 120, "reals": "all", "seeds": 1, "batch_size": 50} | options)
    )
    return Scores(evaluator, References(Decoded(data), "train", data), folder, folder, "running")


def labelled_game():
    columns = blobs(300, size=8)
    module = engine(small_game(classes=3), columns=columns, num_classes=3)
    made, produce = [], module.game.produce
    module.game.produce = lambda latents, *rest: made.append(len(latents)) or produce(latents, *rest)
    return module, Data(columns, "blobs", ["a", "b", "c"]), made


def entries_of(folder) -> list[dict]:
    return json.loads((folder / "scores.json").read_text())


def test_each_fake_is_made_once_and_seen_once_during_training_and_at_its_end(tmp_path):
    module, data, made = labelled_game()
    fit(module, 1)  # what training makes
    per_iteration, _ = sum(made), made.clear()
    Counting.seen_by_all = 0
    fit(module, 8, [scored_by(data, tmp_path, every_kimg=0.032, samples_during=70)])
    entries = entries_of(tmp_path)
    assert [(e["iteration"], e["protocol"]["samples"]) for e in entries] == [(0, 70), (4, 70), (8, 70), (8, 120)]
    assert sum(made) == 8 * per_iteration + 3 * 70 + 120
    assert Counting.seen_by_all == 300 + 3 * 70 + 120


def test_evaluations_with_fewer_samples_are_logged_apart(tmp_path):
    module, data, _ = labelled_game()
    log = MetricsFile(tmp_path / "metrics.csv")
    fit(module, 8, [scored_by(data, tmp_path, every_kimg=0.032, samples_during=70)], [log])
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["iteration"] for row in rows if row["scores_70/fd_projection"]] == ["0", "4", "8"]
    assert [row["iteration"] for row in rows if row["scores/fd_projection"]] == ["8"]


def test_the_checkpoint_that_scored_best_is_kept_apart_and_the_newest_stays_the_newest(tmp_path):
    module, data, _ = labelled_game()
    scores = scored_by(data, tmp_path, every_kimg=0.016, samples_during=120)
    values = iter([5.0, 3.0, 1.0, 2.0])
    scores.evaluator.metrics["fd"].scores = lambda found: {"fd_projection": next(values)}
    fit(module, 6, [scores, Checkpoints(tmp_path / "checkpoints", every_kimg=0.016)])
    best = torch.load(tmp_path / "checkpoints" / "best_by_fd_projection.ckpt", weights_only=True)
    assert best["global_step"] == 4 and best["kimg"] == pytest.approx(0.032)
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 6
    assert [e.get("kept_as") for e in entries_of(tmp_path)] == [None, *["best_by_fd_projection.ckpt"] * 2, None]


def test_the_last_checkpoint_is_written_before_the_last_evaluation_may_fail(tmp_path):
    module, data, _ = labelled_game()
    scores = scored_by(data, tmp_path)
    scores.on_train_start = lambda *_: None
    scores.evaluator.metrics["fd"].scores = lambda found: 1 / 0
    with pytest.raises(ZeroDivisionError):
        fit(module, 3, [scores, Checkpoints(tmp_path / "checkpoints", every_kimg=1)])
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 3
