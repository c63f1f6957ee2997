"""VGG-16 features."""

from sparring.evaluation.extractors.torch_fidelity import TorchFidelity


class VGG16(TorchFidelity):
    """VGG-16 (fc2 after its ReLU, 4096), in whose features Kynkäänniemi et al. 2019 define precision and recall."""

    name = network_name = "vgg16"
    layers = ["fc2_relu"]
    source = "https://download.pytorch.org/models/vgg16-397923af.pth"

    def __init__(self, weights: str | None = None, **options):
        super().__init__(weights, **options)
