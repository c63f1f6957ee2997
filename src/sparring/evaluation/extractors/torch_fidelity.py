"""The feature extractors of the literature, as torch-fidelity builds them."""

from abc import abstractmethod
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.evaluation.extractors.base import Extractor
from sparring.storage import tensor_files
from sparring.storage.locks import one_at_a_time
from sparring.storage.pretrained import download_published, hub_folder, loading_tensors_only, sha256_prefix
from sparring.storage.tensor_files import hash_of

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
            found = path and sha256_prefix(path)
            if path:
                self._check(registered, path, found)
            with (
                one_at_a_time(hub_folder() / registered),
                loading_tensors_only(),
            ):  # of all ranks one fetches what torch.hub fetches
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
        return Path(weights).expanduser() if weights else download_published(self.where)

    def _check(self, registered: str, path: Path, found: str) -> None:
        """Refuse a file, whose SHA-256 was ``found``, that is damaged or would run code: torch-fidelity does not look.

        CLIP's is a program, a TorchScript archive as OpenAI publishes it: it must be that one.
        """
        from torch_fidelity.feature_extractor_clip import MODEL_METADATA

        if registered not in MODEL_METADATA:
            tensor_files.read(path)
        elif found != (known := MODEL_METADATA[registered]["hash"]):
            raise UserError(
                f"{path} is not OpenAI's file (SHA-256 {known[:8]}...), the only one that is opened: it is a program"
            )

    def _advice(self) -> str:
        return (
            f"The weights come from {self.where} on first use, into {hub_folder()}; without a connection "
            "place that file there, or name one with evaluation.weights=FILE.\nTo go on without: evaluation=fast (labelled "
            "data), evaluation=paired (answers beside their targets) or evaluation=none."
        )
