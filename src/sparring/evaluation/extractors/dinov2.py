"""DINOv2 features."""

from sparring.evaluation.extractors.torch_fidelity import BatchSize, Precision, TorchFidelity


class DINOv2(TorchFidelity):
    """DINOv2 (Oquab et al. 2023), the extractor that Stein et al. 2023 found nearest to people's judgement.

    torch.hub downloads and runs its code, too: the command needs ``trust=[dinov2]``.
    """

    name = "dinov2"
    source = "torch.hub's facebookresearch/dinov2 (code and weights)"

    def __init__(
        self,
        network: str = "dinov2-vit-l-14",
        weights: str | None = None,
        precision: Precision = "float32",
        batch_size: BatchSize | None = None,
    ):
        super().__init__(network, ["dinov2"], weights, precision, batch_size)

    def _find_weights(self, registered: str, weights: str | None) -> None:
        if weights:
            raise ValueError("torch-fidelity takes DINOv2 from torch.hub only; leave evaluation.weights=null")
