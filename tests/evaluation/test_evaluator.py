"""One pass over fakes and reals for all metrics; what scores depend on; the cache of the reals' features."""

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import Projection, TensorSet, blobs, noise_images
from sparring.config.errors import UserError
from sparring.evaluation import protocol
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.features import RealFeatures
from sparring.evaluation.image_sets import Subset
from sparring.evaluation.metrics.class_coverage import ClassCoverage
from sparring.evaluation.metrics.classification_accuracy import ClassificationAccuracyScore
from sparring.evaluation.metrics.frechet_distance import FrechetDistance
from sparring.evaluation.metrics.inception_score import InceptionScore
from sparring.evaluation.metrics.kernel_distance import KernelDistance
from sparring.evaluation.metrics.memorization import Memorization
from sparring.evaluation.metrics.prdc import PRDC

CPU = torch.device("cpu")


class Pooled(Projection):
    """Features of images of any shape."""

    def __call__(self, images):
        return super().__call__(torch.nn.functional.adaptive_avg_pool2d(images[:, :1].float(), 8).byte())


def all_metrics() -> dict:
    found = [FrechetDistance(), KernelDistance(20, 30), InceptionScore(), PRDC(), ClassCoverage(), Memorization(4, 2)]
    return {type(metric).__name__: metric for metric in found}


def evaluated(real_images, fakes, cache, extractor=None, metrics=None, **options):
    evaluator = Evaluator(extractor or Projection(), metrics or all_metrics(), **({"reals": "all"} | options))
    evaluator.prepare(real_images, CPU, cache)
    return evaluator(lambda seed: fakes, [None])[0]


def test_each_image_is_made_once_and_seen_once_whatever_the_number_of_metrics(tmp_path):
    reals, fakes, extractor = TensorSet(noise_images(130)), TensorSet(noise_images(70, 90, 1)), Projection()
    result = evaluated(reals, fakes, tmp_path, extractor, batch_size=32)
    assert fakes.shown.tolist() == [1] * 70
    assert extractor.seen == 200
    extras = reals.shown - 1  # the picture of neighbours shows some again; Memorization reads the first one's shape
    assert extras.min() == 0 and extras.sum() <= 1 + 4 * 2
    names = {"fd_projection", "kd_projection", "projection_score", "precision", "density", "authenticity"}
    assert names <= set(result["scores"])
    evaluated(reals, fakes, tmp_path, extractor, batch_size=32)
    assert extractor.seen == 270, "the reals' features are cached"


def test_the_batch_size_changes_nothing(tmp_path):
    sets = TensorSet(noise_images(130)), TensorSet(noise_images(70, 90, 1))
    first, *others = [evaluated(*sets, tmp_path / str(n), batch_size=n)["scores"] for n in (32, 1, 9, 1000)]
    assert all(other == pytest.approx(first, rel=1e-5) for other in others)


def test_the_order_changes_nothing_of_the_frechet_distance(tmp_path):
    reals, fakes = noise_images(130), noise_images(70, 90, 1)
    one = evaluated(TensorSet(reals), TensorSet(fakes), tmp_path)
    other = evaluated(TensorSet(reals.flip(0)), TensorSet(fakes[torch.randperm(70)]), tmp_path)
    assert one["scores"]["fd_projection"] == pytest.approx(other["scores"]["fd_projection"], rel=1e-5)
    itself = evaluated(TensorSet(reals), TensorSet(reals.flip(0)), tmp_path)
    assert abs(itself["scores"]["fd_projection"]) < 1e-5


def test_several_seeds_give_their_mean_and_deviation(tmp_path):
    evaluator = Evaluator(Projection(), {"fd": FrechetDistance()}, reals="all")
    evaluator.prepare(TensorSet(noise_images(100)), CPU, tmp_path)
    sets = {seed: TensorSet(noise_images(60, 100, seed)) for seed in (1, 2, 3)}
    together = evaluator(sets.get, [1, 2, 3])[0]
    apart = [evaluator(sets.get, [seed])[0]["scores"]["fd_projection"] for seed in sets]
    assert together["scores"]["fd_projection"] == pytest.approx(np.mean(apart))
    assert together["scores"]["fd_projection_sd"] == pytest.approx(np.std(apart, ddof=1))
    assert together["protocol"]["seeds"] == [1, 2, 3]


def test_what_needs_a_head_or_labels_is_refused_by_name_and_the_rest_works(tmp_path, caplog):
    class Headless(Projection):
        classes = 0

        def __call__(self, images):
            return super().__call__(images)[0], None

    result = evaluated(TensorSet(noise_images(60)), TensorSet(noise_images(60, 90, 1)), tmp_path, Headless())
    refused = result["protocol"]["refused"]
    assert set(refused) == {"projection_score", "classes_covered", "class_entropy", "label_accuracy"}
    assert "no classifier head" in refused["projection_score"] and "no projection_score: " in caplog.text
    assert {"fd_projection", "precision"} <= set(result["scores"]) and "projection_score" not in result["scores"]


def test_a_protocol_names_what_the_scores_depend_on(tmp_path):
    result = evaluated(TensorSet(noise_images(60)), TensorSet(noise_images(50, 90, 1)), tmp_path, reals=40)
    facts = result["protocol"]
    said = {"samples": 50, "reals": 40, "reals_available": 60, "extractor": "projection", "weights": "0"}
    assert facts | said == facts
    assert facts["packages"]["torch"] == torch.__version__.split("+")[0]
    assert facts["metrics"]["KernelDistance"]["subset_size"] == 30


# ---- comparing numbers ----------------------------------------------------------------------------------------------

RECORD = {
    "samples": 50_000,
    "seeds": [0, 1, 2],
    "reals": 50_000,
    "reals_available": 50_000,
    "split": "train",
    "ema": True,
    "extractor": "inception-v3-compat",
    "standard_weights": True,
    "image_size": [32, 32],
    "real_image_size": [32, 32],
}


def test_the_protocol_of_record_has_no_deviations():
    assert protocol.deviations(RECORD) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": 2000}, "2,000 samples"),
        ({"seeds": [0]}, "1 of 3 sampling seeds"),
        ({"reals": 2000}, "2,000 of 50,000 reals"),
        ({"split": "test"}, "test split"),
        ({"ema": False}, "raw weights"),
        ({"extractor": "vgg16"}, "vgg16"),
        ({"standard_weights": False}, "not the Inception of 2015"),
        ({"image_size": [64, 64]}, "64x64 pixels, reals of 32x32"),
        ({"checkpoint": "best_by_fid.ckpt"}, "chosen by its score"),
    ],
)
def test_every_deviation_from_the_protocol_of_record_is_named(change, said):
    (deviation,) = protocol.deviations(RECORD | change)
    assert said in deviation


def test_two_protocols_may_be_compared_unless_something_decisive_differs():
    assert protocol.differences(RECORD, RECORD | {"packages": {"torch": "9"}, "seeds": [7]}) == []
    assert protocol.differences(RECORD, RECORD | {"samples": 5}) == ["samples: 50000 and 5"]
    assert len(protocol.differences(RECORD, RECORD | {"weights": "x", "ema": False})) == 2


# ---- the cache of the reals' features -------------------------------------------------------------------------------


def test_the_features_are_those_of_all_images_in_order_whatever_the_batch(tmp_path):
    pixels = noise_images(23)
    expected = Projection()(pixels)
    for size in (1, 7, 100):
        reference = RealFeatures(TensorSet(pixels), Projection(), tmp_path / str(size), size)
        torch.testing.assert_close(reference.values, expected[0])
        assert torch.equal(reference.classes, expected[1].argmax(1)) and len(reference) == 23


@pytest.mark.parametrize("change", ["images", "weights", "precision", "resize", "count"])
def test_a_changed_key_never_reuses_a_file(change, tmp_path):
    images, extractor = TensorSet(noise_images(40)), Projection()
    before = RealFeatures(images, extractor, tmp_path)
    if change == "images":
        images = TensorSet(noise_images(40, seed=5))
    elif change == "count":
        images = Subset(images, 39)
    else:
        extractor.facts[change] = "other"
    extractor.seen = 0
    after = RealFeatures(images, extractor, tmp_path)
    assert extractor.seen == len(images) and after.folder != before.folder


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "facts", "moments"])
def test_a_damaged_cache_is_made_again(damage, tmp_path, caplog):
    reals, fakes = TensorSet(noise_images(40)), TensorSet(noise_images(50, 90, 1))
    extractor, metrics = Projection(), {"fd": FrechetDistance()}
    before = evaluated(reals, fakes, tmp_path, extractor, metrics)["scores"]
    (folder,) = (tmp_path / "features").iterdir()
    path = folder / {"facts": "facts.json", "moments": "gaussian.pt"}.get(damage, "values.bin")
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage in ("cut", "facts"):
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 0x55
        path.write_bytes(content)
    assert evaluated(reals, fakes, tmp_path, extractor, metrics)["scores"] == pytest.approx(before)
    assert "damaged" in caplog.text and "made again" in caplog.text
    assert extractor.seen == (140 if damage == "moments" else 180)
    caplog.clear()
    evaluated(reals, fakes, tmp_path, extractor, metrics)
    assert "damaged" not in caplog.text, "it was mended"


def test_an_interrupted_extraction_leaves_nothing_that_could_be_read(tmp_path):
    class Failing(Projection):
        def __call__(self, images):
            if self.calls == 2:
                raise RuntimeError("out of memory")
            return super().__call__(images)

    with pytest.raises(RuntimeError, match="out of memory"):
        RealFeatures(TensorSet(noise_images(40)), Failing(), tmp_path, 10)
    assert not list((tmp_path / "features").iterdir())


# ---- memorization ---------------------------------------------------------------------------------------------------


def test_a_generator_that_copies_is_told_from_one_that_does_not(tmp_path):
    draw = torch.Generator().manual_seed(0)
    world = torch.randint(0, 256, (400, 1, 8, 8), generator=draw, dtype=torch.uint8)
    reals, fresh, copies = world[:200], world[200:], world[:200:2]
    metrics = {"fd": FrechetDistance(), "memorization": Memorization(5, 3)}
    honest = evaluated(TensorSet(reals), TensorSet(fresh), tmp_path, metrics=metrics)["scores"]
    copied = evaluated(TensorSet(reals), TensorSet(copies), tmp_path, metrics=metrics)["scores"]
    assert 0.3 < honest["authenticity"] < 0.7 and copied["authenticity"] == 0
    assert copied["mifd_projection"] > 1e3 * copied["fd_projection"]


@pytest.mark.parametrize("order", [1, -1])
def test_mifid_is_there_in_whatever_order_the_metrics_are_named(order, tmp_path):
    metrics = dict([("memorization", Memorization()), ("fd", FrechetDistance())][::order])
    sets = TensorSet(noise_images(80)), TensorSet(noise_images(60, 120, 1))
    assert "mifd_projection" in evaluated(*sets, tmp_path, metrics=metrics)["scores"]


def test_a_classifier_of_fakes_of_another_shape_is_tested_on_reals(tmp_path):
    columns = blobs(300, size=8)
    reals = TensorSet(columns["images"], columns["labels"])
    large = columns["images"].repeat_interleave(2, 3).repeat_interleave(2, 2).expand(-1, 3, -1, -1)
    fakes = TensorSet(large, columns["labels"])
    wrong = TensorSet(fakes.pixels, (columns["labels"] + 1) % 3)
    found = []
    for images in (fakes, wrong):
        evaluator = Evaluator(Pooled(), {"cas": ClassificationAccuracyScore(40)}, reals="all")
        evaluator.prepare(reals, CPU, tmp_path, labelled=True)
        found.append(evaluator(lambda _, images=images: images, [None])[0]["scores"])
    name = "classification_accuracy"
    assert found[0][f"{name}_reals"] > 0.9 and found[0][f"{name}_score"] > 0.9 and found[0][f"{name}_reverse"] > 0.9
    assert found[1][f"{name}_score"] < 0.1 and found[1][f"{name}_reverse"] < 0.1, "fakes that show another class"


def test_metrics_none_of_which_can_be_computed_are_refused_before_any_work(tmp_path):
    evaluator, images = Evaluator(Projection(), {"cas": ClassificationAccuracyScore()}), TensorSet(noise_images(60))
    with pytest.raises(UserError, match=r"evaluation/metrics=\[cas\]: none"):
        evaluator.prepare(images, CPU, tmp_path)
    assert images.shown.sum() == 0


def test_mifid_is_torchmetrics_with_the_papers_roles(tmp_path):
    from torchmetrics.image.mifid import MemorizationInformedFrechetInceptionDistance

    reals, fakes = noise_images(80), noise_images(60, 120, 1)
    metrics = {"fd": FrechetDistance(), "memorization": Memorization()}
    found = evaluated(TensorSet(reals), TensorSet(fakes), tmp_path, metrics=metrics)["scores"]["mifd_projection"]

    class Ready(torch.nn.Module):
        num_features = 16

        def forward(self, values):
            return values

    theirs = MemorizationInformedFrechetInceptionDistance(Ready(), cosine_distance_eps=0.1)
    # the paper's mean is over the fakes; torchmetrics takes it over what is called the reals
    theirs.update(Projection()(fakes)[0], real=True)
    theirs.update(Projection()(reals)[0], real=False)
    assert found == pytest.approx(float(theirs.compute()), rel=1e-4)


def test_the_picture_shows_each_fake_beside_its_nearest_reals(tmp_path):
    reals = noise_images(40, 256, size=16)
    fakes = reals[[7, 3, 9]].clone()
    evaluator = Evaluator(Projection(), {"memorization": Memorization(3, 2)}, reals="all")
    evaluator.prepare(TensorSet(reals), CPU, tmp_path)
    picture = evaluator(lambda _: TensorSet(fakes), [None])[1]["neighbours"]
    side, pad = 64, 2
    for i, row in enumerate((7, 3, 9)):
        top = pad + i * (side + pad)
        fake = picture[:, top : top + side, pad : pad + side]
        expected = reals[row].repeat_interleave(4, 1).repeat_interleave(4, 2).expand(3, -1, -1)
        assert torch.equal(fake, expected)
        left = (side + 2 * pad) + (side + 2 * pad) // 3 + pad
        assert torch.equal(picture[:, top : top + side, left : left + side], expected), "its own copy is the nearest"
    assert Image.fromarray(picture.permute(1, 2, 0).numpy()).size[1] == pad + 3 * (side + pad)
