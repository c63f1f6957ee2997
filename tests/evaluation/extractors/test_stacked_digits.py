"""The classifier that names the modes of stacked digits."""

import numpy as np
import pytest
import torch

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.mnist import MNISTMini
from sparring.evaluation import classifier_training
from sparring.evaluation.extractors.stacked_digits import StackedDigits

SIZE = 24  # of the images that a classifier learns from here: three quarters of the work


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """The embedded digits in random order: images (5000, 24, 24), labels."""
    order = torch.randperm(5000, generator=torch.Generator().manual_seed(1))
    pixels, labels = zip(*MNISTMini(SIZE), strict=True)
    return torch.from_numpy(np.concatenate(pixels))[order], torch.tensor(labels)[order]


def stack(digits, count: int, seed: int = 0) -> Data:
    images, labels = digits
    drawn = torch.randint(len(images), (count, 3), generator=torch.Generator().manual_seed(seed))
    columns = {"images": images[drawn], "labels": labels[drawn] @ torch.tensor([100, 10, 1])}
    return Data(columns, f"stacks-{seed}-{count}", [f"{i:03d}" for i in range(1000)], name="stackedmnist")


def prepared(data: Data, folder, **options) -> StackedDigits:
    judge = StackedDigits(**options)
    judge.prepare("cpu", data, folder)
    return judge


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(digits, folder) -> StackedDigits:
    images, labels = digits
    return prepared(stack((images[:4000], labels[:4000]), 3000), folder, steps=220)


def test_it_names_the_modes_of_stacks_of_digits_that_it_never_saw(trained, digits):
    images, labels = digits
    unseen = stack((images[4000:], labels[4000:]), 500, seed=1).columns
    _, logits = trained(unseen["images"])
    assert logits.shape == (500, 1000) and trained.classes == 1000
    assert logits.argmax(1).eq(unseen["labels"]).double().mean() > 0.9
    assert trained.facts["classifier_accuracy"] > 0.95 and trained.facts["extractor"] == "stacked_digits"


def test_logits_are_the_log_probabilities_of_three_digits_and_values_lie_side_by_side(trained, digits):
    images = stack(digits, 4).columns["images"]
    values, logits = trained(images)
    assert values.shape == (4, 384) == (4, trained.dims)
    assert logits.exp().sum(1).tolist() == pytest.approx([1] * 4, abs=1e-5)
    cube = logits.exp().view(4, 10, 10, 10)
    for i, others in enumerate([(2, 3), (1, 3), (1, 2)]):
        alone = images[:, i : i + 1].float() / 127.5 - 1
        features, known = trained.network(alone)
        assert torch.allclose(values[:, 128 * i : 128 * (i + 1)], features, atol=1e-5)
        assert torch.allclose(cube.sum(others), known.softmax(1), atol=1e-5)


def test_accuracy_is_measured_on_digits_that_were_in_no_stack_it_learnt_from(digits, tmp_path, monkeypatch):
    images, labels = digits
    seen = {}

    def kept(name, function):
        def call(*arguments):
            seen[name] = arguments[0 if name == "train" else 1]
            return function(*arguments)

        return call

    for name in ("train", "accuracy"):
        monkeypatch.setattr(classifier_training, name, kept(name, getattr(classifier_training, name)))
    prepared(stack((images[:300], labels[:300]), 1000), tmp_path, steps=2)
    learnt, tested = ({image.numpy().tobytes() for image in seen[name]} for name in ("train", "accuracy"))
    assert not learnt & tested
    assert len(seen["accuracy"]) == len(tested) == 60, "a fifth of the different digits, each once"


def test_the_second_run_finds_it_in_the_cache(digits, tmp_path, monkeypatch):
    data = stack(digits, 100)
    first = prepared(data, tmp_path, steps=2)
    monkeypatch.setattr(classifier_training, "train", None)
    again = prepared(data, tmp_path, steps=2)
    assert again.facts == first.facts and again.classes == 1000
    assert torch.equal(again(data.columns["images"])[1], first(data.columns["images"])[1])


def test_other_data_are_refused_and_the_right_ones_named(digits, tmp_path):
    images, labels = digits
    plain = Data({"images": images[:, None], "labels": labels}, "digits", [str(i) for i in range(10)], name="mnistmini")
    for data in (plain, None):
        with pytest.raises(UserError, match=r"data=stacked_mnist"):
            prepared(data, tmp_path)
