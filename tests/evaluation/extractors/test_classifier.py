"""The small classifier whose features judge images where no download is wanted."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.evaluation.extractors import classifier
from sparring.evaluation.extractors.classifier import Classifier, batches, held_out
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
    judge = Classifier(**options)
    judge.prepare("cpu", data, folder)
    return judge


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
    """How many images every training since the test began was shown."""
    fit, steps = classifier.train, []
    monkeypatch.setattr(classifier, "train", lambda *args: (steps.append(len(args[0])), fit(*args))[1])
    return steps


def the_file(folder: Path) -> Path:
    (path,) = (folder / "classifiers").iterdir()  # no temporary file is left beside it
    return path


def test_it_learns_to_tell_the_classes(trained):
    assert trained.accuracy > 0.95
    assert trained.facts["classifier_accuracy"] == round(trained.accuracy, 4)
    fresh = quadrants()
    values, logits = trained(fresh.columns["images"])
    assert values.shape == (600, 128) and logits.shape == (600, 3)
    assert logits.argmax(1).eq(fresh.columns["labels"]).float().mean() > 0.95


def test_its_accuracy_is_that_on_images_it_was_not_trained_on(trained):
    learnt, tested = held_out(600)
    assert len(tested) == 120 and len(learnt) == 480 and not set(tested.tolist()) & set(learnt.tolist())
    data = quadrants().columns
    logits = trained(data["images"][tested])[1]
    assert trained.accuracy == pytest.approx(logits.argmax(1).eq(data["labels"][tested]).double().mean().item())


def test_the_second_build_loads_the_weights_and_does_not_train(trained, folder, trainings):
    again = prepared(quadrants(), folder)
    assert trainings == []
    assert again.facts["weights"] == trained.facts["weights"] and again.accuracy == trained.accuracy
    images = quadrants(20).columns["images"]
    assert torch.equal(again(images)[0], trained(images)[0])


def test_the_same_data_give_the_same_weights_in_another_cache(trained, tmp_path, trainings):
    torch.manual_seed(99)
    again = prepared(quadrants(), tmp_path)
    assert trainings == [480]
    assert again.facts["weights"] == trained.facts["weights"]


@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_a_damaged_file_is_told_and_trained_again_to_the_same_weights(damage, quick, tmp_path, trainings, caplog):
    whole = quick()
    path = the_file(tmp_path)
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "text": b"not a checkpoint"}[damage])
    assert quick().facts["weights"] == whole.facts["weights"] and len(trainings) == 2
    assert f"{path} is damaged" in caplog.text
    assert quick().facts["weights"] == whole.facts["weights"] and len(trainings) == 2, "the file was mended"


def test_a_file_of_something_else_is_trained_again(quick, tmp_path):
    whole = quick()
    torch.save([1, 2], the_file(tmp_path))
    assert quick().facts["weights"] == whole.facts["weights"]


def test_a_file_with_a_flipped_bit_is_trained_again(quick, tmp_path):
    whole = quick()
    content = bytearray(the_file(tmp_path).read_bytes())
    content[len(content) // 2] ^= 0x40
    the_file(tmp_path).write_bytes(content)
    assert quick().facts["weights"] == whole.facts["weights"]


def test_too_low_an_accuracy_is_refused_and_the_key_named(folder, trained):
    with pytest.raises(UserError, match=r"(?s)101%.*data\.classifier_accuracy.*evaluation=none"):
        prepared(quadrants(), folder, min_accuracy=1.01)


def test_a_judge_that_sees_no_classes_is_told_and_stands_in_the_report(tmp_path, caplog, trained):
    assert "largest_class" not in trained.facts
    data = quadrants(300)
    data.columns["labels"][:] = torch.randint(3, (300,), generator=torch.Generator().manual_seed(1))
    for _ in range(2):  # trained, then loaded
        caplog.clear()
        judge = prepared(data, tmp_path)
        share = data.columns["labels"][held_out(300)[1]].bincount().max() / 60
        assert judge.facts["largest_class"] == round(share.item(), 4)
        (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        for said in (f"{judge.accuracy:.1%} of 60 held-out images", f"{share:.1%}", "the scores mean little"):
            assert said in warning
    protocol = {"fakes": "a", "samples": 9, "reals": 9, "reals_available": 9, "real_images": "b", "metrics": {}}
    for facts, told in ((judge.facts, True), (trained.facts, False)):
        entry = {"scores": {"fd_classifier": 1.0}, "kimg": None, "protocol": protocol | {"refused": {}} | facts}
        closing = scores_table(entry, []).splitlines()[-1]
        assert ("the largest class: THE SCORES MEAN LITTLE." in closing) == told, closing


def test_one_trained_on_fewer_batches_by_an_earlier_version_is_not_taken(quick, tmp_path, trained, folder):
    assert the_file(folder).name == "quadrants-600steps-150batches.pt", "and not 23, six times each"
    quick()
    assert the_file(tmp_path).name == "quadrants-2steps-2batches.pt"
    assert [batches(count, 600, 6) for count in (3199, 3200, 4000, 20_000)] == [150, 151, 188, 600]
    assert batches(48, 600, None) == 600


def test_data_without_labels_are_refused_with_the_way_out(tmp_path):
    with pytest.raises(UserError, match="evaluation=none"):
        prepared(quadrants(40, labels=False), tmp_path)
    assert not list(tmp_path.iterdir())


def test_training_draws_nothing_from_torchs_global_generator(quick, trainings):
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        quick()
        states.append(torch.get_rng_state())
    assert len(trainings) == 1 and torch.equal(*states), "trained, then loaded"


def test_building_leaves_torchs_global_generator_as_it_was(quick):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    quick()
    assert torch.equal(torch.get_rng_state(), before)


def test_it_judges_images_of_any_size_one_by_one_and_is_not_trained_further(trained):
    small = quadrants(8).columns["images"]
    large = small.repeat_interleave(4, 2).repeat_interleave(4, 3)  # 64 pixels: seen in 32
    together = trained(large)[0]
    torch.testing.assert_close(together[:1], trained(large[:1])[0], rtol=1e-4, atol=1e-4)
    assert not trained.network.training
    assert not any(parameter.requires_grad for parameter in trained.network.parameters())
