"""VGG-16 features."""

from sparring.evaluation.extractors.torch_fidelity import BatchSize, Precision, TorchFidelity


class VGG16(TorchFidelity):
    """VGG-16 (fc2 after its ReLU, 4096), in whose features Kynkäänniemi et al. 2019 define precision and recall."""

    name = "vgg16"
    source = "https://download.pytorch.org/models/vgg16-397923af.pth"

    def __init__(
        self, weights: str | None = None, precision: Precision = "float32", batch_size: BatchSize | None = None
    ):
        super().__init__("vgg16", ["fc2_relu"], weights, precision, batch_size)
