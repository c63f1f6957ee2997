"""What happens beside training: warnings, checkpoints that are kept, the bar, evaluation."""

import json
import logging

import pytest
import pytorch_lightning as pl
import torch

from conftest import blobs, engine, fit, small_game
from sparring.callbacks.checkpoints import AtomicCheckpointIO, Checkpoints, numbered
from sparring.callbacks.health import Health
from sparring.callbacks.progress import Progress
from sparring.data.cache import Data
from sparring.evaluation.classifier import Classifier
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.metrics import ClassCoverage, FrechetDistance, PrecisionRecall


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
    assert [path.name for path in numbered(tmp_path)] == ["kimg-0000000.064.ckpt", "kimg-0000000.080.ckpt"]
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 10
    assert module.last_checkpoint == tmp_path / "kimg-0000000.080.ckpt"


def test_a_checkpoint_that_fails_while_being_written_leaves_the_old_one(tmp_path, monkeypatch):
    target = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"good": torch.ones(3)}, target)

    def disk_full(content, path):
        path.write_bytes(b"half a file")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", disk_full)
    with pytest.raises(OSError, match="No space"):
        AtomicCheckpointIO().save_checkpoint({"good": torch.zeros(3)}, target)
    monkeypatch.undo()
    assert torch.load(target, weights_only=True)["good"].sum() == 3
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_the_bar_shows_kimg_speed_time_left_and_losses(capsys):
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=20, max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_model_summary=False, callbacks=[Progress()],
    )  # fmt: skip
    trainer.fit(engine(small_game(), log_every=2))
    last = capsys.readouterr().err.strip().splitlines()[-1]
    for part in ("kimg 0.2/0.2", "images/s", "discriminator", "generator", "D(x)", "<"):
        assert part in last, last


class Counting(Classifier):
    """Counts the images that it is shown."""

    seen = 0

    def __call__(self, images):
        Counting.seen += len(images)
        return super().__call__(images)


def test_each_fake_is_made_once_and_seen_once_whatever_the_number_of_metrics(tmp_path):
    columns = blobs(300, size=8)
    data = Data(columns, "blobs", ["a", "b", "c"])
    game = small_game(classes=3)
    module = engine(game, columns=columns, num_classes=3)
    metrics = {
        "fd": FrechetDistance(),
        "pr": PrecisionRecall(),
        "classes": ClassCoverage(),
        "again": FrechetDistance("other"),
    }
    evaluator = Evaluator(Counting, metrics, data, tmp_path, tmp_path, every_kimg=0.032, samples=120, batch_size=50)
    made, produce = [], game.produce
    game.produce = lambda latents, *rest: made.append(len(latents)) or produce(latents, *rest)

    fit(module, 1)  # what training makes
    per_iteration, _ = sum(made), made.clear()
    fit(module, 8, [evaluator])
    entries = json.loads((tmp_path / "scores.json").read_text())
    assert [entry["iteration"] for entry in entries] == [0, 4, 8]
    assert sum(made) == 8 * per_iteration + 3 * 120
    before = Counting.seen
    evaluator.evaluate(module)
    assert Counting.seen - before == 120  # the reals' features are kept
    assert evaluator.lower_is_better == {"fd_classifier", "other"}


def test_the_reals_features_are_taken_from_the_cache_the_second_time(tmp_path):
    columns = blobs(300, size=8)
    data = Data(columns, "blobs", ["a", "b", "c"])
    seen = []
    for _ in range(2):
        module = engine(small_game(), columns=columns)
        evaluator = Evaluator(Counting, {"fd": FrechetDistance()}, data, tmp_path, tmp_path, samples=60)
        Counting.seen = 0
        fit(module, 1, [evaluator])
        seen.append(Counting.seen)
    assert seen[0] - seen[1] >= 300
