"""CLIP features."""

from pathlib import Path

from sparring.evaluation.extractors.torch_fidelity import BatchSize, Precision, TorchFidelity
from sparring.storage.pretrained import download_published


class CLIP(TorchFidelity):
    """CLIP's image encoder (Radford et al. 2021), used for the FD of Kynkäänniemi et al. 2023."""

    name = "clip"
    source = "https://openaipublic.azureedge.net/clip/models (OpenAI)"

    def __init__(
        self,
        network: str = "clip-vit-b-32",
        weights: str | None = None,
        precision: Precision = "float32",
        batch_size: BatchSize | None = None,
    ):
        super().__init__(network, ["clip"], weights, precision, batch_size)

    def _find_weights(self, registered: str, weights: str | None) -> Path:
        from torch_fidelity.feature_extractor_clip import MODEL_METADATA, MODEL_URLS

        file_name = f"{registered}-{MODEL_METADATA[registered]['hash']}.pt"  # as torch-fidelity calls it
        return Path(weights).expanduser() if weights else download_published(MODEL_URLS[registered], file_name)
