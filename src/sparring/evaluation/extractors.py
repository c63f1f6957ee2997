"""The feature extractors of the literature, as torch-fidelity builds them."""

from abc import abstractmethod
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sparring import tensors
from sparring.data.cache import Data
from sparring.errors import UserError
from sparring.evaluation.features import Extractor, hash_of
from sparring.locks import one_at_a_time
from sparring.weights import KNOWN, digest, hub, numbers_only, published

Precision = Literal["float32", "float64"]


class TorchFidelity(Extractor):
    """A network of torch-fidelity: RGB (grey is repeated), resized as TensorFlow 1 resized (bilinear, no antialiasing).

    Args:
        registered: torch-fidelity's name of it.
        layers: whose outputs are the values, and the logits if there are two.
        weights: a file; None for the published one, which is downloaded and kept in torch's hub folder.
        precision: of the arithmetic within; features are float32 in any case.
        batch_size: images a pass; None for 16 on a CPU (with more, its caches overflow) and 256 on a GPU.

    Raises:
        UserError: the weights are damaged, of something else, or can't be had, and how to get them.
    """

    where: str  # from where weights are downloaded

    @property
    @abstractmethod
    def name(self) -> str:
        """Of each network its own: this class is built as none, and no stored run may name it."""

    def __init__(
        self,
        registered: str,
        layers: list[str],
        weights: str | None = None,
        precision: Precision = "float32",
        batch_size: int | None = None,
    ):
        from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

        self.batch_size = batch_size
        try:
            path = self._obtain(registered, weights)
            found = path and digest(path)
            if path:
                self._check(registered, path, found)
            with one_at_a_time(hub() / registered), numbers_only():  # of all ranks one fetches what torch.hub fetches
                self.network = FEATURE_EXTRACTORS_REGISTRY[registered](
                    registered,
                    layers,
                    feature_extractor_weights_path=path and str(path),
                    feature_extractor_internal_dtype=precision,
                    verbose=True,
                )
        except Exception as error:  # urllib's, a damaged file's, load_state_dict's
            named = f"evaluation.weights={weights}" if weights else f"evaluation/extractor={self.name}: no weights"
            raise UserError(f"{named}: {str(error).strip().partition(chr(10))[0]}\n{self._advice()}") from error
        self.network.requires_grad_(False).eval().to(memory_format=torch.channels_last)
        outputs = self.network(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
        self.dims, self.classes = outputs[0].shape[1], outputs[1].shape[1] if len(layers) > 1 else 0
        self.facts = {
            "extractor": registered,
            "weights": found[:16] if found else hash_of(self.network.state_dict()),
            "resize": "bilinear as in TensorFlow 1",
            "precision": precision,
        }

    def prepare(self, device: torch.device | str, data: Data | None = None, cache: Path | None = None) -> None:
        self.device = torch.device(device)
        self.network.to(self.device)
        self.batch_size = self.batch_size or (256 if self.device.type == "cuda" else 16)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # TF32 would show in a score's third digit
            passes = [self._see(part) for part in images.split(self.batch_size)]
        values, *logits = (torch.cat(column) for column in zip(*passes, strict=True))
        return values, logits[0] if self.classes else None

    def _see(self, images: Tensor) -> tuple[Tensor, ...]:
        pixels = images.to(self.device).expand(-1, 3, -1, -1)
        return self.network(pixels.contiguous(memory_format=torch.channels_last))

    def _obtain(self, registered: str, weights: str | None) -> Path | None:
        """The file of weights, the published one by default; None of what torch-fidelity fetches by itself."""
        return Path(weights).expanduser() if weights else published(self.where)

    def _check(self, registered: str, path: Path, found: str) -> None:
        """Refuse a file, whose SHA-256 was ``found``, that is damaged or would run code: torch-fidelity does not look.

        CLIP's is a program, a TorchScript archive as OpenAI publishes it: it must be that one.
        """
        from torch_fidelity.feature_extractor_clip import MODEL_METADATA

        if registered not in MODEL_METADATA:
            tensors.read(path)
        elif found != (known := MODEL_METADATA[registered]["hash"]):
            raise UserError(
                f"{path} is not OpenAI's file (SHA-256 {known[:8]}...), the only one that is opened: it is a program"
            )

    def _advice(self) -> str:
        return (
            f"The weights come from {self.where} on first use, into {hub()}; without a connection "
            "place that file there, or name one with evaluation.weights=FILE.\nTo go on without: evaluation=fast (labelled "
            "data), evaluation=paired (answers beside their targets) or evaluation=none."
        )


class Inception(TorchFidelity):
    """Inception-v3 of 2015, TensorFlow's weights: the features (2048) of FID and KID, the logits (1008) of IS.

    Weights whose classifier head is absent (NaN in ``fc``) give features and no logits.
    """

    name = "inception"
    where = (
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
    )
    # of all tensors but the head's: tells the standard weights from others in whatever file they come
    standard = "c9ce7f36d5ee9536"

    def __init__(self, weights: str | None = None, precision: Precision = "float32", batch_size: int | None = None):
        super().__init__("inception-v3-compat", ["2048", "logits_unbiased"], weights, precision, batch_size)
        if self.network.fc.weight.isnan().any():
            self.network.features_list, self.classes = ["2048"], 0
        for module in self.network.modules():  # exact up to rounding, and a sixth quicker
            if hasattr(module, "conv") and hasattr(module, "bn"):
                module.conv, module.bn = fuse_conv_bn_eval(module.conv, module.bn), nn.Identity()
        self.network.to(memory_format=torch.channels_last)
        self.facts["standard_weights"] = self._standard

    def _check(self, registered: str, path: Path, found: str) -> None:
        held = tensors.read(path)
        body = {name: held[name] for name in sorted(held) if not name.startswith("fc.") and "tracked" not in name}
        self._standard = hash_of(body) == self.standard or found == KNOWN[self.where.rpartition("/")[2]]


class CLIP(TorchFidelity):
    """CLIP's image encoder (Radford et al. 2021), as the FD of Kynkäänniemi et al. 2023 uses it."""

    name = "clip"
    where = "https://openaipublic.azureedge.net/clip/models (OpenAI)"

    def __init__(
        self,
        network: str = "clip-vit-b-32",
        weights: str | None = None,
        precision: Precision = "float32",
        batch_size: int | None = None,
    ):
        super().__init__(network, ["clip"], weights, precision, batch_size)

    def _obtain(self, registered: str, weights: str | None) -> Path:
        from torch_fidelity.feature_extractor_clip import MODEL_METADATA, MODEL_URLS

        kept = f"{registered}-{MODEL_METADATA[registered]['hash']}.pt"  # as torch-fidelity calls it
        return Path(weights).expanduser() if weights else published(MODEL_URLS[registered], kept)


class DINOv2(TorchFidelity):
    """DINOv2 (Oquab et al. 2023), the extractor that Stein et al. 2023 found nearest to people's judgement.

    torch.hub fetches its code, too, and runs it: the command wants ``trust=[dinov2]``.
    """

    name = "dinov2"
    where = "torch.hub's facebookresearch/dinov2 (code and weights)"

    def __init__(
        self,
        network: str = "dinov2-vit-l-14",
        weights: str | None = None,
        precision: Precision = "float32",
        batch_size: int | None = None,
    ):
        super().__init__(network, ["dinov2"], weights, precision, batch_size)

    def _obtain(self, registered: str, weights: str | None) -> None:
        if weights:
            raise ValueError("torch-fidelity takes DINOv2 from torch.hub only; leave evaluation.weights=null")


class VGG16(TorchFidelity):
    """VGG-16 (fc2 after its ReLU, 4096), in which Kynkäänniemi et al. 2019 define precision and recall."""

    name = "vgg16"
    where = "https://download.pytorch.org/models/vgg16-397923af.pth"

    def __init__(self, weights: str | None = None, precision: Precision = "float32", batch_size: int | None = None):
        super().__init__("vgg16", ["fc2_relu"], weights, precision, batch_size)
