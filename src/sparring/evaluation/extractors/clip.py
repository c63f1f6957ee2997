"""CLIP features."""

from pathlib import Path

from sparring.evaluation.extractors.torch_fidelity import TorchFidelity
from sparring.storage.pretrained import download_published


class CLIP(TorchFidelity):
    """CLIP's image encoder (Radford et al. 2021), used for the FD of Kynkäänniemi et al. 2023."""

    name = "clip"
    layers = ["clip"]
    source = "https://openaipublic.azureedge.net/clip/models (OpenAI)"

    def __init__(self, network: str = "clip-vit-b-32", weights: str | None = None, **options):
        self.network_name = network
        super().__init__(weights, **options)

    def _find_weights(self, weights: str | None) -> Path:
        from torch_fidelity.feature_extractor_clip import MODEL_METADATA, MODEL_URLS

        if weights:
            return Path(weights).expanduser()
        file_name = f"{self.network_name}-{MODEL_METADATA[self.network_name]['hash']}.pt"  # as torch-fidelity calls it
        return download_published(MODEL_URLS[self.network_name], file_name)
