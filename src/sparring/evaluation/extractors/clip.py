"""CLIP features."""

from pathlib import Path

from sparring.evaluation.extractors.torch_fidelity import Precision, TorchFidelity
from sparring.storage.pretrained import download_published


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
        return Path(weights).expanduser() if weights else download_published(MODEL_URLS[registered], kept)
