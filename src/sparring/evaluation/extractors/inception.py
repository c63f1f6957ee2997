"""Inception-v3 features, as published FIDs use them."""

from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sparring.evaluation.extractors.torch_fidelity import Precision, TorchFidelity
from sparring.storage import tensor_files
from sparring.storage.pretrained import KNOWN
from sparring.storage.tensor_files import hash_of


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
        held = tensor_files.read(path)
        body = {name: held[name] for name in sorted(held) if not name.startswith("fc.") and "tracked" not in name}
        self._standard = hash_of(body) == self.standard or found == KNOWN[self.where.rpartition("/")[2]]
