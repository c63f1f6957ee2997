"""Images and their targets: scores worked out by hand, those of other libraries, and what is refused."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from conftest import Malicious, Projection, TensorSet
from sparring.config.errors import UserError
from sparring.config.instantiate import build
from sparring.config.validation import check
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.extractors.none import NoFeatures
from sparring.evaluation.metrics.base import Comparison
from sparring.evaluation.metrics.frechet_distance import FrechetDistance
from sparring.evaluation.metrics.lpips import LPIPS
from sparring.evaluation.metrics.reconstruction import Reconstruction

CPU = torch.device("cpu")


def plain(value: int, size: int = 16, channels: int = 3, count: int = 1) -> torch.Tensor:
    return torch.full((count, channels, size, size), value, dtype=torch.uint8)


def pictures(count: int = 12, size: int = 40, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy images and their smooth targets, uint8 (count, 3, size, size)."""
    draw = np.random.default_rng(seed)
    targets = gaussian_filter(draw.normal(size=(count, 3, size, size)), (0, 0, 3, 3)) * 600 + 128
    images = targets + draw.normal(size=targets.shape) * np.linspace(2, 40, count)[:, None, None, None]
    return tuple(torch.from_numpy(part.clip(0, 255).astype(np.uint8)) for part in (images, targets))


def begun(metric, count: int, size: tuple[int, int]):
    reals = SimpleNamespace(images=SimpleNamespace(image_size=size))
    metric.begin(Comparison(reals, count, "x", 0, 0, CPU))
    return metric


def add(metric, images, targets, rows) -> None:
    metric.add(Batch(rows, images[rows], torch.zeros(len(rows), 0), targets=targets[rows]))


def scores(metric, images, targets, batch: int = 5) -> dict[str, float]:
    begun(metric, len(images), tuple(images.shape[2:]))
    for rows in reversed(torch.arange(len(images)).split(batch)):
        add(metric, images, targets, rows)
    return metric.scores({})


def test_plain_images_have_the_scores_worked_out_by_hand():
    actual = scores(Reconstruction(), plain(110), plain(100))
    assert actual["psnr"] == pytest.approx(10 * np.log10(255**2 / 100))
    assert actual["ssim"] == pytest.approx((2 * 110 * 100 + 6.5025) / (110**2 + 100**2 + 6.5025), abs=1e-9)
    assert actual["l1"] == pytest.approx(10 / 255)


def test_an_image_without_an_error_has_100_decibels_and_each_image_counts_once():
    targets = torch.cat([plain(100), plain(100)])
    images = torch.cat([plain(100), plain(110)])
    assert scores(Reconstruction(), targets, targets) == {"psnr": 100, "ssim": pytest.approx(1), "l1": 0}
    assert scores(Reconstruction(), images, targets)["psnr"] == pytest.approx(50 + 5 * np.log10(255**2 / 100))
    almost = plain(7, size=256)
    almost[0, 0, 0, 0] += 1
    assert scores(Reconstruction(), almost, plain(7, size=256))["psnr"] == 100, "101 by the formula"


def test_psnr_is_torchmetrics_mean_over_images_and_l1_its_mean_absolute_error():
    from torchmetrics.image import PeakSignalNoiseRatio
    from torchmetrics.regression import MeanAbsoluteError

    images, targets = pictures()
    psnr = PeakSignalNoiseRatio(data_range=255.0, dim=(1, 2, 3), reduction="elementwise_mean")
    actual = scores(Reconstruction(), images, targets)
    assert actual["psnr"] == pytest.approx(float(psnr(images.float(), targets.float())), rel=1e-5)
    expected = float(MeanAbsoluteError()(images.flatten().float() / 255, targets.flatten().float() / 255))
    assert actual["l1"] == pytest.approx(expected, rel=1e-4)


def similarity(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004, eq. 13: one channel, at every position of the window of 11 pixels within the image."""
    x, y = x.astype(float), y.astype(float)

    def mean(values):
        return gaussian_filter(values, 1.5, radius=5)[5:-5, 5:-5]

    a, b, c1, c2 = mean(x), mean(y), (0.01 * 255) ** 2, (0.03 * 255) ** 2
    covariance = mean(x * y) - a * b
    variances = mean(x * x) - a * a + mean(y * y) - b * b
    return float(((2 * a * b + c1) * (2 * covariance + c2) / ((a * a + b * b + c1) * (variances + c2))).mean())


def test_ssim_is_the_papers_and_torchmetrics_where_the_window_lies_within_the_image():
    from torchmetrics.functional.image import structural_similarity_index_measure

    images, targets = (part[..., :33] for part in pictures())  # no squares
    actual = scores(Reconstruction(), images, targets)["ssim"]
    pairs = zip(images.flatten(0, 1).numpy(), targets.flatten(0, 1).numpy(), strict=True)
    assert 0.2 < actual < 0.8 and actual == pytest.approx(np.mean([similarity(x, y) for x, y in pairs]), abs=1e-9)
    options = {"data_range": 255.0, "return_full_image": True}
    _, everywhere = structural_similarity_index_measure(images.double(), targets.double(), **options)
    assert actual == pytest.approx(float(everywhere[..., 5:-5, 5:-5].mean()), abs=1e-6)


@pytest.mark.parametrize(("size", "window"), [(1, 1), (2, 1), (4, 3), (8, 7), (10, 9), (11, 11), (28, 11)])
def test_in_small_images_the_window_shrinks_and_the_protocol_says_so(size, window):
    images, targets = (part[..., :size, :] for part in pictures())
    metric = Reconstruction()
    assert 0 < scores(metric, images, targets)["ssim"] < 1
    assert metric.protocol()["ssim_window"] == window
    assert scores(metric, targets, targets)["ssim"] == pytest.approx(1)


def test_luminance_and_border_leave_only_the_inner_brightness():
    grey, targets = plain(110), plain(100)
    grey[..., :3, :], grey[..., -3:] = 255, 0
    actual = scores(Reconstruction(border=3, luminance=True), grey, targets)
    assert actual["l1"] == pytest.approx(10 * 219 / 255 / 255), "Y goes from 16 to 235"
    assert actual["psnr"] == pytest.approx(20 * np.log10(255 / (10 * 219 / 255)))
    red = plain(0)
    red[:, 0] = 255
    actual = scores(Reconstruction(luminance=True), red, plain(0))
    assert actual["l1"] == pytest.approx(65.481 / 255)
    actual = scores(Reconstruction(luminance=True), plain(110, channels=1), plain(100, channels=1))
    assert actual["l1"] == pytest.approx(10 / 255), "grey is taken as it is"


def test_the_sums_of_ranks_that_share_the_images_are_those_of_one():
    images, targets = pictures()
    whole, halves = Reconstruction(), (Reconstruction(), Reconstruction())
    expected = scores(whole, images, targets)
    for metric, rows in zip(halves, torch.arange(12).split(7), strict=True):
        add(begun(metric, 12, (40, 40)), images, targets, rows)
    for one, other in zip(halves[0].sums, halves[1].sums, strict=True):
        one += other
    assert halves[0].scores({}) == pytest.approx(expected, rel=1e-6)
    assert scores(whole, images, targets, batch=1) == pytest.approx(expected, rel=1e-5), "a second time, one by one"


def test_a_border_that_leaves_nothing_is_refused():
    assert Reconstruction(border=3).unavailable((7, 9)) is None
    assert "3 pixels leaves nothing of images of 6" in Reconstruction(border=3).unavailable((6, 9))


@pytest.mark.parametrize("wrong", ["reconstruction.border=-1", "lpips.network=inception"])
def test_a_setting_that_means_nothing_is_refused_by_its_key(wrong, composed):
    with pytest.raises(UserError, match=f"evaluation.metrics.{wrong}: must be"):
        check(composed("evaluation=paired", f"evaluation.metrics.{wrong}"))


class Pairs(TensorSet):
    """Images whose targets are known."""

    def __init__(self, images, targets):
        super().__init__(images)
        self.targets = lambda rows: targets[list(rows)]


def test_outputs_are_compared_with_their_targets_without_features_or_files(tmp_path):
    images, targets = pictures()
    reals, answers = TensorSet(targets), Pairs(images, targets)
    evaluator = Evaluator(NoFeatures(), {"reconstruction": Reconstruction()}, reals="all", batch_size=5)
    evaluator.prepare(reals, CPU, tmp_path, targeted=True)
    result = evaluator(lambda _: answers, [None])[0]
    assert result["scores"] == pytest.approx(scores(Reconstruction(), images, targets), rel=1e-6)
    assert result["protocol"]["extractor"] == "none" and result["protocol"]["metrics"]["reconstruction"]["border"] == 0
    assert answers.shown.tolist() == [1] * 12 and reals.shown.sum() == 0
    assert not list(tmp_path.iterdir())


def test_what_needs_features_or_weights_is_refused_by_name_and_the_rest_is_scored(tmp_path, hub):
    images, targets = pictures()
    metrics = {"fd": FrechetDistance(), "reconstruction": Reconstruction(), "lpips": LPIPS()}
    evaluator = Evaluator(NoFeatures(), metrics, reals="all")
    evaluator.prepare(TensorSet(targets), CPU, tmp_path, targeted=True)
    result = evaluator(lambda _: Pairs(images, targets), [None])[0]
    assert result["scores"].keys() == {"psnr", "ssim", "l1"}
    refused = result["protocol"]["refused"]
    assert "no features" in refused["fd_none"] and "alexnet-owt-7be5be79.pth" in refused["lpips"]


def test_samples_without_targets_have_no_such_scores_and_no_message(tmp_path):
    images, targets = pictures(size=8)
    images, targets = images[:, :1], targets[:, :1]
    evaluator = Evaluator(Projection(), {"fd": FrechetDistance(), "reconstruction": Reconstruction()}, reals="all")
    evaluator.prepare(TensorSet(targets), CPU, tmp_path)
    result = evaluator(lambda _: TensorSet(images), [None])[0]
    assert result["scores"].keys() == {"fd_projection"} and result["protocol"]["refused"] == {}


def test_the_mean_absolute_difference_is_the_leading_score_of_pairs(composed):
    cfg = composed("evaluation=paired", "evaluation.metrics.reconstruction.border=4")
    check(cfg)
    evaluator = build(cfg.evaluation, "evaluation")
    assert evaluator.lower_is_better == ["l1", "lpips"]
    assert evaluator.metrics["reconstruction"].border == 4


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """torch's hub folder, with nothing in it, on a machine without a network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def squeeze(tmp_path_factory) -> Path:
    """Random weights of the smallest of the networks, in torchvision's layout."""
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeeze.pth"
    torch.save(squeezenet1_1().state_dict(), path)
    return path


def test_lpips_is_torchmetrics_with_weights_from_a_file(squeeze, hub):
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    (hub / "squeezenet1_1-b8a52dc0.pth").write_bytes(squeeze.read_bytes())  # where torchvision looks
    theirs = LearnedPerceptualImagePatchSimilarity("squeeze")
    images, targets = pictures()
    metric = LPIPS("squeeze", str(squeeze))
    assert metric.unavailable((40, 40)) is None
    actual = scores(metric, images, targets)
    expected = float(theirs(images.float() / 127.5 - 1, targets.float() / 127.5 - 1))
    assert actual == {"lpips": pytest.approx(expected, rel=1e-5)} and expected > 1e-3
    assert scores(metric, targets, targets)["lpips"] == 0
    grey = [part[:, :1] for part in (images, targets)]
    repeated = scores(metric, *(part.expand(-1, 3, -1, -1) for part in grey))
    assert scores(metric, *grey) == pytest.approx(repeated)


def test_the_protocol_names_network_and_weights_and_loading_them_draws_no_numbers(squeeze, tmp_path):
    state = torch.get_rng_state()
    one, other = LPIPS("squeeze", str(squeeze)), LPIPS("squeeze", str(tmp_path / "other.pth"))
    tensors = torch.load(squeeze, weights_only=True)
    torch.save(tensors | {"features.0.bias": tensors["features.0.bias"] + 1}, tmp_path / "other.pth")
    protocols = [begun(metric, 1, (40, 40)).protocol() for metric in (one, other, one)]
    assert protocols[0] == protocols[2] != protocols[1] and protocols[0]["network"] == "squeeze"
    assert torch.equal(torch.get_rng_state(), state)


def test_lpips_is_left_out_with_a_reason_where_weights_or_pixels_are_lacking(hub):
    reason = LPIPS().unavailable((64, 64))
    for said in ("alexnet-owt-7be5be79.pth", str(hub), "evaluation.metrics.lpips.weights=FILE", "leave lpips out"):
        assert said in reason
    assert "at least 32 pixels, and these have 28" in LPIPS().unavailable((28, 64))
    (hub / "alexnet-owt-7be5be79.pth").write_bytes(b"cut off")
    assert "damaged" in LPIPS().unavailable((64, 64))


def test_a_named_file_with_other_content_ends_the_run_and_runs_nothing(squeeze, tmp_path):
    torch.save({"features.0.weight": Malicious(tmp_path / "it ran")}, tmp_path / "malicious.pth")
    torch.save([1], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for path in [tmp_path / name for name in ("malicious.pth", "list.pth", "text.pth", "absent.pth")] + [squeeze]:
        with pytest.raises(UserError, match=rf"(?s)evaluation.metrics.lpips.weights={path}: .*leave lpips out"):
            LPIPS("alex", str(path)).unavailable((64, 64))
    assert not (tmp_path / "it ran").exists()
