"""Learned perceptual image patch similarity (LPIPS)."""

import re
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from sparring.config.errors import UserError
from sparring.distributed.collectives import all_agree
from sparring.evaluation.metrics.base import Comparison
from sparring.evaluation.metrics.targets import TargetsMetric
from sparring.storage.pretrained import torchvision_weights
from sparring.storage.tensor_files import hash_of

SMALLEST = 32  # pixels of a side
Network = Literal["alex", "vgg", "squeeze"]
NETWORKS = {  # torchvision's weights of the networks
    "alex": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "vgg": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "squeeze": "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
}
KEY = "evaluation.metrics.lpips.weights"
WAY_OUT = "To go on without: leave lpips out of evaluation/metrics=[...]."


class LPIPS(TargetsMetric):
    """``lpips``: distance in a network's features, weighted to agree with people (Zhang et al. 2018, version 0.1).

    torchmetrics carries the learned weights of the features; the network is torchvision's. Images under 32 pixels are
    not scored: AlexNet sees nothing of them, and the weights were fitted to images of 64. Grey is repeated to RGB.

    Args:
        network: ``alex`` (the authors' choice for scores), ``vgg`` or ``squeeze``; their scores are not comparable.
        weights: file of torchvision's weights of the network; None for its download, kept in torch's hub folder.
    """

    score_names = {"lpips": True}

    def __init__(self, network: Network = "alex", weights: str | None = None):
        self.network: Network = network
        self.weights = weights

    def unavailable(self, image_size: tuple[int, ...]) -> str | None:
        if min(image_size) < SMALLEST:
            return f"it wants images of at least {SMALLEST} pixels, and these have {min(image_size)}"
        reason = None
        try:
            self.distance  # noqa: B018 (loads it)
        except UserError as error:
            if self.weights:
                raise
            reason = str(error)
        return None if all_agree(reason is None) else reason or "another rank lacks its weights"

    def begin(self, comparison: Comparison) -> None:
        super().begin(comparison)
        self.distance.to(self.device)

    def compare(self, images: Tensor, targets: Tensor) -> Tensor:
        pair = (part.float().div(127.5).sub(1).expand(-1, 3, -1, -1) for part in (images, targets))
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # as in the extractors
            return self.distance(*pair).view(1, -1)

    def protocol(self) -> dict[str, float | str]:
        return {"network": self.network, "weights": hash_of(self.distance.state_dict())}

    @cached_property
    def distance(self) -> nn.Module:
        """The network with the learned weights of its features."""
        # torchmetrics' public class can only download the network's weights; this one takes those of a file
        from torchmetrics.functional.image.lpips import _LPIPS

        tensors = torchvision_weights(NETWORKS[self.network], self.weights, KEY, WAY_OUT)
        with torch.random.fork_rng(devices=[]):  # the initial weights are random
            distance = _LPIPS(net=self.network, pnet_rand=True)
        try:
            names = {name: re.sub(r"^slice(s\.)?\d+", "features", name) for name in distance.net.state_dict()}
            distance.net.load_state_dict({name: tensors[theirs] for name, theirs in names.items()})
        except (AttributeError, KeyError, RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{KEY}={self.weights}: not those of {self.network} ({reason}).\n{WAY_OUT}") from error
        return distance.requires_grad_(False).eval()
