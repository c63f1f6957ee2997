"""DINOv2 features."""

from sparring.evaluation.extractors.torch_fidelity import TorchFidelity


class DINOv2(TorchFidelity):
    """DINOv2 (Oquab et al. 2023), the extractor that Stein et al. 2023 found nearest to people's judgement.

    torch.hub downloads and runs its code, too: the command needs ``trust=[dinov2]``.
    """

    name = "dinov2"
    layers = ["dinov2"]
    source = "torch.hub's facebookresearch/dinov2 (code and weights)"
    downloads_code = "dinov2"  # the name that ``trust`` must hold

    def __init__(self, network: str = "dinov2-vit-l-14", weights: str | None = None, **options):
        self.network_name = network
        super().__init__(weights, **options)

    def _find_weights(self, weights: str | None) -> None:
        if weights:
            raise ValueError("torch-fidelity takes DINOv2 from torch.hub only; leave evaluation.weights=null")
