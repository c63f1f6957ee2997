"""Inception-v3 features, in which published FIDs are computed."""

from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sparring.evaluation.extractors.torch_fidelity import TorchFidelity
from sparring.storage import tensor_files
from sparring.storage.pretrained import KNOWN

PUBLISHED = "weights-inception-2015-12-05-6726825d.pth"
BODY_HASH = "c9ce7f36d5ee9536"  # of its tensors without the head: the standard weights, whatever file they come in


class Inception(TorchFidelity):
    """Inception-v3 of 2015, TensorFlow's weights: the features (2048) of FID and KID, the logits (1008) of IS.

    Weights without a classifier head (NaN in ``fc``) give features and no logits.
    """

    name = "inception"
    network_name = "inception-v3-compat"
    layers = ["2048", "logits_unbiased"]
    source = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{PUBLISHED}"

    def __init__(self, weights: str | None = None, **options):
        super().__init__(weights, **options)
        if self.network.fc.weight.isnan().any():
            self.network.features_list, self.classes = ["2048"], 0
        for module in self.network.modules():  # exact up to rounding, and a sixth quicker
            if hasattr(module, "conv") and hasattr(module, "bn"):
                module.conv, module.bn = fuse_conv_bn_eval(module.conv, module.bn), nn.Identity()
        self.network.to(memory_format=torch.channels_last)
        self.facts["standard_weights"] = self._is_standard

    def _check_weights(self, path: Path, digest: str) -> None:
        tensors = tensor_files.read(path)
        names = sorted(name for name in tensors if not name.startswith("fc.") and "tracked" not in name)
        self._is_standard = (
            digest == KNOWN[PUBLISHED] or tensor_files.hash_of({n: tensors[n] for n in names}) == BODY_HASH
        )
