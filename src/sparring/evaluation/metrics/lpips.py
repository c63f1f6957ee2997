"""Learned perceptual image patch similarity (LPIPS)."""

import re
from typing import Literal

import torch
from torch import Tensor, nn

from sparring.config.errors import UserError
from sparring.distributed.collectives import all_agree
from sparring.evaluation.metrics.base import Comparison
from sparring.evaluation.metrics.targets import Targets
from sparring.storage.pretrained import torchvision_weights
from sparring.storage.tensor_files import hash_of

SMALLEST = 32  # pixels of a side, of LPIPS


# torchvision's networks behind LPIPS, and their weights
NETWORKS = {
    "alex": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "vgg": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "squeeze": "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
}


class LPIPS(Targets):
    """``lpips``: distance of the features of a network, weighted to agree with people (Zhang et al. 2018, version 0.1).

    torchmetrics carries the learnt weights; the network under them is torchvision's. Images of less than 32 pixels are not
    scored: AlexNet sees nothing of them, and the judgements it was fitted to were of 64. Grey is repeated.

    Args:
        network: ``alex`` (the authors' choice for scores), ``vgg`` or ``squeeze``; their numbers are not comparable.
        weights: a file of torchvision's weights of the network; None for its download, kept in torch's hub folder.
    """

    def __init__(self, network: Literal["alex", "vgg", "squeeze"] = "alex", weights: str | None = None):
        if network not in NETWORKS:
            raise ValueError(f"network={network}: must be one of {', '.join(NETWORKS)}")
        self.network, self.weights = network, weights
        self._distance: nn.Module | None = None

    def names(self, extractor: str) -> dict[str, bool]:
        return {"lpips": True}

    def unavailable(self, image_size: tuple[int, int]) -> str | None:
        if min(image_size) < SMALLEST:
            return f"it wants images of at least {SMALLEST} pixels, and these have {min(image_size)}"
        reason = None
        try:
            self._load()
        except UserError as error:
            if self.weights:
                raise
            reason = str(error)
        return None if all_agree(reason is None) else reason or "another rank lacks its weights"

    def begin(self, comparison: Comparison) -> None:
        super().begin(comparison)
        self._load().to(self.device)

    def compare(self, images: Tensor, targets: Tensor) -> Tensor:
        pair = (part.float().div(127.5).sub(1).expand(-1, 3, -1, -1) for part in (images, targets))
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # as in the extractors
            return self._load()(*pair).view(1, -1)

    def protocol(self) -> dict[str, float | str]:
        return {"network": self.network, "weights": hash_of(self._load().state_dict())}

    def _load(self) -> nn.Module:
        """The network, in which torchmetrics' class is given the weights in place of downloading them."""
        if self._distance is None:
            from torchmetrics.functional.image.lpips import _LPIPS

            key = "evaluation.metrics.lpips.weights"
            way_out = "To go on without: leave lpips out of evaluation/metrics=[...]."
            tensors = torchvision_weights(NETWORKS[self.network], self.weights, key, way_out)
            with torch.random.fork_rng(devices=[]):  # the weights that are replaced draw numbers
                distance = _LPIPS(net=self.network, pnet_rand=True)
            try:
                body = {
                    name: tensors[re.sub(r"^slice(s\.)?\d+", "features", name)] for name in distance.net.state_dict()
                }
                distance.net.load_state_dict(body)
            except (AttributeError, KeyError, RuntimeError, TypeError) as error:
                told = " ".join(str(error).split())
                raise UserError(f"{key}={self.weights}: not those of {self.network} ({told}).\n{way_out}") from error
            self._distance = distance.requires_grad_(False).eval()
        return self._distance
