"""The small classifier of the data's own labels, whose features need no download."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.evaluation import classifier_training
from sparring.evaluation.classifier_training import batch_count, held_out
from sparring.evaluation.extractors.classifier import Classifier
from sparring.runs.console import scores_table


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # quicker for so small a network, and much quicker on a busy machine
    yield
    torch.set_num_threads(threads)


def quadrants(count: int = 600, size: int = 16, labels: bool = True) -> Data:
    """Noise with one brighter quadrant, which is the label."""
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 100, (count, 1, size, size), generator=draws)
    classes = torch.randint(3, (count,), generator=draws)
    half = size // 2
    for image, label in zip(images, classes.tolist(), strict=True):
        image[0, label // 2 * half :, label % 2 * half :][:half, :half] += 120
    columns = {"images": images.to(torch.uint8)} | ({"labels": classes} if labels else {})
    return Data(columns, "quadrants", ["top left", "top right", "bottom left"] if labels else [])


def prepared(data: Data, folder: Path, **options) -> Classifier:
    extractor = Classifier(**options)
    extractor.prepare("cpu", data, folder)
    return extractor


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(folder) -> Classifier:
    return prepared(quadrants(), folder)


@pytest.fixture
def quick(tmp_path) -> Callable[[], Classifier]:
    """Builds one that is trained in two steps only, in a cache folder of the test's own."""
    return lambda: prepared(quadrants(80), tmp_path, steps=2)


@pytest.fixture
def trainings(monkeypatch) -> list[int]:
    """The number of images of every training in the test."""
    train, counts = classifier_training.train, []

    def recorded(images, *arguments):
        counts.append(len(images))
        return train(images, *arguments)

    monkeypatch.setattr(classifier_training, "train", recorded)
    return counts


def the_file(folder: Path) -> Path:
    (path,) = (folder / "classifiers").iterdir()  # no temporary file is left next to it
    return path


def test_it_learns_to_tell_the_classes_and_its_accuracy_is_that_on_held_out_images(trained):
    learnt, tested = held_out(600)
    assert len(tested) == 120 and len(learnt) == 480 and not set(tested.tolist()) & set(learnt.tolist())
    data = quadrants().columns
    values, logits = trained(data["images"])
    assert values.shape == (600, 128) and logits.shape == (600, 3)
    right = logits.argmax(1).eq(data["labels"]).double()
    assert right.mean() > 0.95 and trained.accuracy == pytest.approx(right[tested].mean().item())
    assert trained.accuracy > 0.95 and trained.facts["classifier_accuracy"] == round(trained.accuracy, 4)


def test_the_same_data_give_the_same_weights_from_the_cache_or_trained_again(trained, folder, tmp_path, trainings):
    torch.manual_seed(99)
    loaded = prepared(quadrants(), folder)
    assert trainings == []
    again = prepared(quadrants(), tmp_path)
    assert trainings == [480]
    assert again.facts["weights"] == loaded.facts["weights"] == trained.facts["weights"]
    images = quadrants(20).columns["images"]
    assert torch.equal(loaded(images)[0], trained(images)[0]) and loaded.accuracy == trained.accuracy


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "flipped", "other"])
def test_a_damaged_file_is_reported_and_trained_again_to_the_same_weights(damage, quick, tmp_path, trainings, caplog):
    weights = quick().facts["weights"]
    path = the_file(tmp_path)
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 0x40]) + content[middle + 1 :]
    torch.save([1, 2], path)
    other = path.read_bytes()
    damaged = {"empty": b"", "cut": content[:middle], "text": b"no checkpoint", "flipped": flipped, "other": other}
    path.write_bytes(damaged[damage])
    assert quick().facts["weights"] == weights and len(trainings) == 2
    assert f"{path} is damaged" in caplog.text
    assert quick().facts["weights"] == weights and len(trainings) == 2, "the file was mended"


def test_too_low_an_accuracy_is_refused_and_the_key_named(folder, trained):
    with pytest.raises(UserError, match=r"(?s)101%.*data\.classifier_accuracy.*evaluation=none"):
        prepared(quadrants(), folder, min_accuracy=1.01)


def test_a_classifier_that_can_not_tell_classes_apart_is_reported_in_log_and_table(tmp_path, caplog, trained):
    assert "largest_class" not in trained.facts
    data = quadrants(300)
    data.columns["labels"][:] = torch.randint(3, (300,), generator=torch.Generator().manual_seed(1))
    for _ in range(2):  # trained, then loaded
        caplog.clear()
        extractor = prepared(data, tmp_path)
        share = data.columns["labels"][held_out(300)[1]].bincount().max() / 60
        assert extractor.facts["largest_class"] == round(share.item(), 4)
        (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        for said in (f"{extractor.accuracy:.1%} of 60 held-out images", f"{share:.1%}", "the scores mean little"):
            assert said in warning
    protocol = {"fakes": "a", "samples": 9, "reals": 9, "reals_available": 9, "real_images": "b", "metrics": {}}
    for facts, warned in ((extractor.facts, True), (trained.facts, False)):
        entry = {"scores": {"fd_classifier": 1.0}, "kimg": None, "protocol": protocol | {"refused": {}} | facts}
        closing = scores_table(entry, []).splitlines()[-1]
        assert ("the largest class: THE SCORES MEAN LITTLE." in closing) == warned, closing


def test_the_cached_file_is_named_after_its_data_and_its_number_of_batches(quick, tmp_path, trained, folder):
    assert the_file(folder).name == "quadrants-150batches.pt", "and not 23, six epochs"
    quick()
    assert the_file(tmp_path).name == "quadrants-2batches.pt"
    assert [batch_count(count, 600, 6) for count in (3199, 3200, 4000, 20_000)] == [150, 151, 188, 600]
    assert batch_count(48, 600, None) == 600


def test_data_without_labels_are_refused_with_the_way_out(tmp_path):
    with pytest.raises(UserError, match="evaluation=none"):
        prepared(quadrants(40, labels=False), tmp_path)
    assert not list(tmp_path.iterdir())


def test_training_and_loading_leave_torchs_global_generator_as_it_was(quick, trainings):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for _ in range(2):
        quick()
        assert torch.equal(torch.get_rng_state(), before)
    assert len(trainings) == 1, "trained, then loaded"


def test_features_of_an_image_depend_on_no_other_and_the_network_is_frozen(trained):
    small = quadrants(8).columns["images"]
    large = small.repeat_interleave(4, 2).repeat_interleave(4, 3)  # 64 pixels: seen in 32
    together = trained(large)[0]
    torch.testing.assert_close(together[:1], trained(large[:1])[0], rtol=1e-4, atol=1e-4)
    assert not trained.network.training
    assert not any(parameter.requires_grad for parameter in trained.network.parameters())
