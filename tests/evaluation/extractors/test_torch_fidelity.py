"""Extractors and scores compared with torch-fidelity's own, with random weights and, if there, the real ones."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from conftest import Malicious, TensorSet
from sparring.benchmarks import evaluation as benchmark
from sparring.config.errors import UserError
from sparring.data.mnist import MNISTMini
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.extractors.clip import CLIP
from sparring.evaluation.extractors.dinov2 import DINOv2
from sparring.evaluation.extractors.inception import Inception
from sparring.evaluation.extractors.vgg16 import VGG16
from sparring.evaluation.metrics.frechet_distance import FrechetDistance
from sparring.evaluation.metrics.inception_score import InceptionScore
from sparring.evaluation.metrics.kernel_distance import KernelDistance
from sparring.evaluation.metrics.prdc import PRDC
from sparring.evaluation.protocol import deviations
from sparring.storage.checksums import sha256

CPU = torch.device("cpu")
REAL_WEIGHTS = os.environ.get("SPARRING_INCEPTION_WEIGHTS")
NONE = "SPARRING_INCEPTION_WEIGHTS names no file with Inception's weights"


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Random weights with a head, of a scale at which features differ, in torch-fidelity's names."""
    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        torch.manual_seed(0)
        network = theirs.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    return torch.from_numpy(MNISTMini().load()[0])[::50, None]  # 100 of them, ten of each


class Pixels(Dataset):
    def __init__(self, images):
        self.images = images.expand(-1, 3, -1, -1)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, row):
        return self.images[row]


def theirs(fakes, reals, path, **wanted) -> dict[str, float]:
    from torch_fidelity import calculate_metrics

    options = {"feature_extractor": "inception-v3-compat", "feature_extractor_weights_path": str(path), "cuda": False}
    options |= {"cache": False, "verbose": False, "save_cpu_ram": True, "batch_size": 20, "kid_subset_size": len(fakes)}
    return calculate_metrics(input1=Pixels(fakes), input2=Pixels(reals), **options, **wanted)


def ours(fakes, reals, path, cache) -> dict:
    metrics = {"fid": FrechetDistance(), "kid": KernelDistance(subset_size=len(fakes)), "prdc": PRDC()}
    evaluator = Evaluator(Inception(str(path)), metrics | {"inception_score": InceptionScore()}, reals="all")
    evaluator.prepare(TensorSet(reals), CPU, cache)
    return evaluator(lambda _: TensorSet(fakes), [None])[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "standard", [False, pytest.param(True, marks=pytest.mark.skipif(not REAL_WEIGHTS, reason=NONE))]
)
def test_every_score_is_torch_fidelitys_with_random_and_with_the_real_weights(standard, weights, digits, tmp_path):
    fakes, reals, path = digits[:40:2], digits[1:50:2], REAL_WEIGHTS if standard else weights
    head = {} if standard else {"isc": True}  # a file of the real weights may lack it
    expected = theirs(fakes, reals, path, fid=True, kid=True, prc=True, **head)
    result = ours(fakes, reals, path, tmp_path)
    actual = result["scores"]
    assert actual["fid"] == pytest.approx(expected["frechet_inception_distance"], rel=1e-4)
    assert actual["kid"] == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-4, abs=1e-6)
    assert (actual["precision"], actual["recall"]) == pytest.approx((expected["precision"], expected["recall"]))
    if head:
        assert actual["inception_score"] == pytest.approx(expected["inception_score_mean"], rel=1e-4)
        assert actual["inception_score_std"] == pytest.approx(expected["inception_score_std"], rel=1e-3)
    assert result["protocol"]["standard_weights"] is standard
    assert ("weights that are not the Inception of 2015" in deviations(result["protocol"])) is not standard


@pytest.mark.slow
def test_inceptions_features_are_torch_fidelitys_whatever_the_batch_and_grey_is_repeated(weights, digits):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    layers = ["2048", "logits_unbiased"]
    reference = FeatureExtractorInceptionV3("i", layers, feature_extractor_weights_path=str(weights))
    values, logits = reference(digits[:6].expand(-1, 3, -1, -1))
    for size in (None, 4):
        extractor = Inception(str(weights), batch_size=size)
        extractor.prepare("cpu")
        actual = extractor(digits[:6])
        torch.testing.assert_close(actual[0], values, rtol=1e-4, atol=1e-4 * values.std().item())
        torch.testing.assert_close(actual[1], logits, rtol=1e-4, atol=1e-4 * logits.std().item())
    assert (extractor.dims, extractor.classes) == (2048, 1008)
    assert extractor.facts["weights"] == hashlib.sha256(weights.read_bytes()).hexdigest()[:16]


def test_weights_without_a_head_give_features_and_no_logits(weights, digits, tmp_path):
    tensors = torch.load(weights, weights_only=True)
    tensors["fc.weight"] = torch.full_like(tensors["fc.weight"], torch.nan)
    torch.save(tensors, tmp_path / "headless.pth")
    extractor = Inception(str(tmp_path / "headless.pth"))
    extractor.prepare("cpu")
    values, logits = extractor(digits[:2])
    assert extractor.classes == 0 and logits is None and values.isfinite().all()


def test_weights_that_are_damaged_absent_or_something_else_are_refused_with_the_way_out(weights, tmp_path):
    named = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    named.write_bytes(weights.read_bytes())
    text = tmp_path / "text.pth"
    text.write_text("no weights")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    for path, reason in {
        named: "damaged",
        text: "",
        "no.pth": "No such file",
        tmp_path / "other.pth": "loading",
    }.items():
        message = rf"(?s)evaluation.weights={path}.*{reason}.*evaluation.weights=FILE.*evaluation=none"
        with pytest.raises(UserError, match=message):
            Inception(str(path))


def test_a_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    torch.save({"fc.weight": Malicious(tmp_path / "it ran")}, tmp_path / "weights.pth")
    for extractor in (Inception, VGG16, CLIP):
        with pytest.raises(UserError, match="evaluation.weights"):
            extractor(weights=str(tmp_path / "weights.pth"))
    assert not (tmp_path / "it ran").exists()


def test_without_weights_and_connection_it_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(UserError) as error:
        Inception()
    for said in ("weights-inception-2015-12-05-6726825d.pth", str(tmp_path / "hub"), "evaluation.weights=FILE"):
        assert said in str(error.value)


@pytest.mark.slow
def test_vgg_and_clip_take_their_own_weights_from_a_file(digits, tmp_path, monkeypatch):
    import torchvision
    from torch_fidelity.feature_extractor_clip import MODEL_METADATA, CLIPVisual

    with torch.device("meta"):  # all weights of a layer are one number, stored once
        shapes = {name: weight.shape for name, weight in torchvision.models.vgg16().state_dict().items()}
    torch.save({name: torch.tensor(0.01).expand(shape) for name, shape in shapes.items()}, tmp_path / "vgg.pth")
    vgg = VGG16(str(tmp_path / "vgg.pth"))
    vgg.prepare("cpu")
    assert vgg(digits[:2])[0].shape == (2, 4096) == (2, vgg.dims) and vgg(digits[:2])[1] is None
    (tmp_path / "vgg.pth").unlink()

    class Archive(nn.Module):
        """As OpenAI publishes it: a TorchScript archive whose tensors carry these names."""

        def __init__(self):
            super().__init__()
            self.visual = CLIPVisual(512, 224, 2, 64, 32).visual
            self.text_projection = nn.Parameter(torch.zeros(64, 512))

        def forward(self, x):
            return x

    torch.jit.trace(Archive(), torch.zeros(1)).save(str(tmp_path / "clip.pt"))
    with pytest.raises(UserError, match="clip.pt is not OpenAI's file.*it is a program"):
        CLIP(weights=str(tmp_path / "clip.pt"))
    monkeypatch.setitem(MODEL_METADATA["clip-vit-b-32"], "hash", sha256(tmp_path / "clip.pt"))
    clip = CLIP(weights=str(tmp_path / "clip.pt"))
    clip.prepare("cpu")
    assert clip(digits[:2])[0].shape == (2, 512) == (2, clip.dims)
    assert np.isfinite(clip(digits[:2])[0].numpy()).all()


def test_dinov2_from_a_file_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="(?s)torch.hub only.*evaluation.weights=null"):
        DINOv2(weights=str(tmp_path / "x.pth"))


@pytest.mark.parametrize(
    ("score", "names"),
    [
        (benchmark.score_with_evaluator, {"fid", "kid", "precision", "recall", "density", "coverage"}),
        (benchmark.score_with_torch_fidelity, {"frechet_inception_distance", "precision", "recall"}),
        (benchmark.score_with_torchmetrics, {"fid", "kid", "inception_score"}),
    ],
)
def test_the_benchmark_scores_plain_tensors(weights, score, names):
    images = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    scores = score(images[:8], images[8:], str(weights), torch.device("cpu"))
    assert names <= scores.keys() and all(float(scores[name]) >= 0 for name in names - {"kid"})
