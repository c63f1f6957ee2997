"""How near images are to what each was to be: by their pixels, and as people see them."""

import re
from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from sparring.distributed import all_agree
from sparring.errors import UserError
from sparring.evaluation.features import Batch, hash_of
from sparring.evaluation.metric import Comparison, Metric
from sparring.perceptual import torchvision_weights

PERFECT = 100.0  # dB of an image without an error, and the most that any has
WINDOW, SIGMA = 11, 1.5  # pixels, of SSIM's Gaussian
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
SMALLEST = 32  # pixels of a side, of LPIPS
PIXELS = 2**18  # numbers that are compared at a time: more leave a CPU's caches
# torchvision's networks behind LPIPS, and their weights
NETWORKS = {
    "alex": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "vgg": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "squeeze": "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
}


class Targets(Metric):
    """A metric that is a mean over images of what each differs from its target. Keeps the sums alone."""

    needs_targets = True
    needs_features = False

    def begin(self, comparison: Comparison) -> None:
        self.device, self.count = comparison.device, comparison.count
        self.total = torch.zeros(len(self.names("")), dtype=torch.float64, device=self.device)

    def add(self, batch: Batch) -> None:
        size = max(PIXELS // batch.images[0].numel(), 1)
        for pair in zip(batch.images.split(size), batch.targets.split(size), strict=True):
            self.total += self.compare(*(images.to(self.device) for images in pair)).double().sum(1)

    @abstractmethod
    def compare(self, images: Tensor, targets: Tensor) -> Tensor:
        """uint8 images and targets (batch, C, H, W) -> the scores of each image (scores, batch), in the order of ``names``."""

    @property
    def sums(self) -> list[Tensor]:
        return [self.total]

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        return dict(zip(self.names(""), (self.total / self.count).tolist(), strict=True))


class Reconstruction(Targets):
    """``psnr``, ``ssim`` and ``l1`` of each image beside its target, each a mean over the images.

    ``psnr``: 10 log10(255^2 / mean squared difference), in dB; at most 100, which stands for an image without an error.
    ``ssim`` (Wang et al. 2004): Gaussian window of 11 pixels, sigma 1.5, K1 .01, K2 .03, wherever it lies within the image, as
    in the authors' code (torchmetrics' mean takes in a mirrored margin, too); mean over the channels. In images of less
    than 11 pixels a side the window and its sigma shrink to what fits.
    ``l1``: mean absolute difference of images in [0, 1].

    Super-resolution is scored on luminance with a border as wide as its scale (Ledig et al. 2017, section 3.1).

    Args:
        border: pixels that are left out at each side.
        luminance: compare only Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255 (BT.601, not rounded); the range stays 255.
            Grey images are taken as they are.

    Raises:
        ValueError: a negative border.
    """

    def __init__(self, border: int = 0, luminance: bool = False):
        if border < 0:
            raise ValueError(f"border={border}: pixels that are left out at each side; 0 for none")
        self.border, self.luminance = border, luminance

    def names(self, extractor: str) -> dict[str, bool]:
        return {"psnr": False, "ssim": False, "l1": True}

    def unavailable(self, image_size: tuple[int, int]) -> str | None:
        if self._side(image_size) < 1:
            return f"a border of {self.border} pixels leaves nothing of images of {min(image_size)}"
        return None

    def begin(self, comparison: Comparison) -> None:
        super().begin(comparison)
        side = self._side(comparison.reals.images.image_size)
        self.window = min(WINDOW, side - (side + 1) % 2)  # odd

    def compare(self, images: Tensor, targets: Tensor) -> Tensor:
        images, targets = self._seen(images), self._seen(targets)
        difference = (images - targets).flatten(1)
        errors = difference.square().mean(1).clamp(min=255**2 / 10 ** (PERFECT / 10))
        psnr = 10 * (255**2 / errors).log10()
        return torch.stack([psnr, structural_similarity(images, targets, self.window), difference.abs().mean(1) / 255])

    def protocol(self) -> dict[str, float | str]:
        colours = "BT.601 luminance" if self.luminance else "all"
        return {"border": self.border, "channels": colours, "ssim_window": self.window, "psnr_at_most": PERFECT}

    def _side(self, image_size: tuple[int, int]) -> int:
        """Pixels of the shorter side that are compared."""
        return min(image_size) - 2 * self.border

    def _seen(self, images: Tensor) -> Tensor:
        """What is compared, float64 in [0, 255]."""
        height, width = images.shape[2:]
        images = images[..., self.border : height - self.border, self.border : width - self.border].double()
        if self.luminance and images.shape[1] == 3:
            weights = images.new_tensor([65.481, 128.553, 24.966]).view(3, 1, 1) / 255
            images = 16 + (images * weights).sum(1, keepdim=True)
        return images


def structural_similarity(images: Tensor, targets: Tensor, window: int = WINDOW) -> Tensor:
    """SSIM (Wang et al. 2004, eq. 13) of images and targets (batch, C, H, W) in [0, 255] -> (batch,), mean over the channels.

    Of the places at which a Gaussian window of ``window`` pixels, sigma 1.5 of 11, lies within the image. In float64: in plain
    areas E x^2 - (E x)^2 would leave float32 three digits.
    """
    x, y = images.double(), targets.double()
    rows, columns = (_gaussian(side, window).to(x) for side in images.shape[2:])
    means = rows @ torch.stack([x, y, x * x, y * y, x * y]) @ columns.T
    mean_x, mean_y, *products = means
    var_x, var_y, covariance = (p - q for p, q in zip(products, [mean_x**2, mean_y**2, mean_x * mean_y], strict=True))
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return (luminance * (2 * covariance + C2) / (var_x + var_y + C2)).mean((1, 2, 3))


def _gaussian(side: int, window: int) -> Tensor:
    """The filter as a matrix (side - window + 1, side): each row the window at another place."""
    offset = torch.arange(side) - torch.arange(side - window + 1)[:, None] - window // 2
    taps = (-0.5 * (offset.double() / (SIGMA * window / WINDOW)) ** 2).exp() * (offset.abs() <= window // 2)
    return taps / taps.sum(1, keepdim=True)


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
