"""Base of the literature's feature extractors, which torch-fidelity builds."""

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.evaluation.extractors.base import Extractor
from sparring.storage import tensor_files
from sparring.storage.locks import one_at_a_time
from sparring.storage.pretrained import download_published, hub_folder, loading_tensors_only, sha256_prefix

Precision = Literal["float32", "float64"]
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]


class TorchFidelity(Extractor):
    """A network of torch-fidelity, which sees RGB (grey is repeated), resized as in TensorFlow 1 (no antialiasing).

    Args:
        weights: a file; None for the published one, which is downloaded into torch's hub folder.
        precision: of the arithmetic within; features are float32 in any case.
        batch_size: images a pass; None for 16 on a CPU (with more, its caches overflow) and 256 on a GPU.

    Raises:
        UserError: the weights are damaged, belong to another network, or can't be downloaded.
    """

    network_name: str  # in torch-fidelity
    layers: list[str]  # their outputs are the features and, if there are two, the logits
    source: str  # where the published weights are
    weights_file: Path | None  # None where torch-fidelity downloads the weights itself

    @abstractmethod  # so that no stored configuration can build this class
    def __init__(
        self, weights: str | None = None, precision: Precision = "float32", batch_size: BatchSize | None = None
    ):
        from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

        self.batch_size, digest = batch_size, None
        try:
            self.weights_file = self._find_weights(weights)
            if self.weights_file is not None:
                digest = sha256_prefix(self.weights_file)
                self._check_weights(self.weights_file, digest)
            # one rank downloads what torch.hub downloads
            with one_at_a_time(hub_folder() / self.network_name), loading_tensors_only():
                self.network = FEATURE_EXTRACTORS_REGISTRY[self.network_name](
                    self.network_name,
                    self.layers,
                    feature_extractor_weights_path=self.weights_file and str(self.weights_file),
                    feature_extractor_internal_dtype=precision,
                    verbose=True,
                )
        except Exception as error:  # urllib's, a damaged file's, load_state_dict's
            key = f"evaluation.weights={weights}" if weights else f"evaluation/extractor={self.name}: no weights"
            reason = str(error).strip().partition("\n")[0]
            raise UserError(
                f"{key}: {reason}\nThe weights are downloaded from {self.source} on first use, into {hub_folder()}; "
                "without a connection put that file there, or name one with evaluation.weights=FILE.\nTo go on "
                "without: evaluation=fast (labelled data), evaluation=paired (outputs with targets) or evaluation=none."
            ) from error
        self.network.requires_grad_(False).eval().to(memory_format=torch.channels_last)
        outputs = self.network(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
        self.dims, self.classes = outputs[0].shape[1], outputs[1].shape[1] if len(self.layers) > 1 else 0
        self.facts = {
            "extractor": self.network_name,
            "weights": digest[:16] if digest else tensor_files.hash_of(self.network.state_dict()),
            "resize": "bilinear as in TensorFlow 1",
            "precision": precision,
        }

    def prepare(self, device: torch.device, data: Data | None = None, cache: Path | None = None) -> None:
        self.device = torch.device(device)
        self.network.to(self.device)
        self.batch_size = self.batch_size or (256 if self.device.type == "cuda" else 16)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # TF32 would show in a score's third digit
            passes = [self.network(self._pixels(part)) for part in images.split(self.batch_size)]
        features, *logits = (torch.cat(column) for column in zip(*passes, strict=True))
        return features, logits[0] if self.classes else None

    def _pixels(self, images: Tensor) -> Tensor:
        return images.to(self.device).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)

    def _find_weights(self, weights: str | None) -> Path | None:
        """Return the given file or the published one; None where torch-fidelity downloads the weights itself."""
        return Path(weights).expanduser() if weights else download_published(self.source)

    def _check_weights(self, path: Path, digest: str) -> None:
        """Refuse a file that is damaged or could run code, which torch-fidelity does not check.

        CLIP's file is a program (a TorchScript archive), so it must be the one of OpenAI.
        """
        from torch_fidelity.feature_extractor_clip import MODEL_METADATA

        expected = MODEL_METADATA.get(self.network_name, {}).get("hash")
        if expected is None:
            tensor_files.read(path)
        elif digest != expected:
            raise UserError(
                f"{path} is not OpenAI's file (SHA-256 {expected[:8]}...), the only one that is opened: it is a program"
            )
