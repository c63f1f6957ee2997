"""How near images are to their targets by their pixels: PSNR, SSIM, L1."""

import torch
from pydantic import NonNegativeInt
from torch import Tensor

from sparring.evaluation.metrics.base import Comparison
from sparring.evaluation.metrics.targets import TargetsMetric

PERFECT = 100.0  # dB of an image without an error, and the most that any has
WINDOW, SIGMA = 11, 1.5  # pixels, of SSIM's Gaussian
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class Reconstruction(TargetsMetric):
    """``psnr``, ``ssim`` and ``l1`` of each image and its target, as means over the images.

    ``psnr``: 10 log10(255^2 / mean squared difference) in dB, at most 100, which stands for an image without an error.
    ``ssim``: see ``structural_similarity``; in images under 11 pixels a side the window and its sigma shrink to fit.
    ``l1``: mean absolute difference of images in [0, 1].

    Super-resolution is scored on luminance with a border as wide as its scale (Ledig et al. 2017, section 3.1).

    Args:
        border: pixels that are left out at each side.
        luminance: compare only Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255 (BT.601, not rounded); the range stays
            255. Grey images are taken as they are.
    """

    score_names = {"psnr": False, "ssim": False, "l1": True}

    def __init__(self, border: NonNegativeInt = 0, luminance: bool = False):
        self.border, self.luminance = border, luminance

    def unavailable(self, image_size: tuple[int, ...]) -> str | None:
        if self._side(image_size) < 1:
            return f"a border of {self.border} pixels leaves nothing of images of {min(image_size)}"
        return None

    def begin(self, comparison: Comparison) -> None:
        super().begin(comparison)
        side = self._side(comparison.reals.images.image_size)
        self.window = min(WINDOW, side - (side + 1) % 2)  # odd

    def compare(self, images: Tensor, targets: Tensor) -> Tensor:
        images, targets = self._compared(images), self._compared(targets)
        difference = (images - targets).flatten(1)
        errors = difference.square().mean(1).clamp(min=255**2 / 10 ** (PERFECT / 10))
        psnr = 10 * (255**2 / errors).log10()
        return torch.stack([psnr, structural_similarity(images, targets, self.window), difference.abs().mean(1) / 255])

    def protocol(self) -> dict[str, float | str]:
        colours = "BT.601 luminance" if self.luminance else "all"
        return {"border": self.border, "channels": colours, "ssim_window": self.window, "psnr_at_most": PERFECT}

    def _side(self, image_size: tuple[int, ...]) -> int:
        """Pixels of the shorter side within the border."""
        return min(image_size) - 2 * self.border

    def _compared(self, images: Tensor) -> Tensor:
        """Return the pixels and channels that are compared, float64 in [0, 255]."""
        height, width = images.shape[2:]
        images = images[..., self.border : height - self.border, self.border : width - self.border].double()
        if self.luminance and images.shape[1] == 3:
            weights = images.new_tensor([65.481, 128.553, 24.966]).view(3, 1, 1) / 255
            images = 16 + (images * weights).sum(1, keepdim=True)
        return images


def structural_similarity(images: Tensor, targets: Tensor, window: int = WINDOW) -> Tensor:
    """Return the SSIM (batch,) of images and targets (batch, C, H, W) in [0, 255] (Wang et al. 2004, eq. 13).

    K1 .01, K2 .03, a Gaussian window of ``window`` pixels (sigma 1.5 of 11) at every position within the image, as in
    the authors' code (torchmetrics adds a mirrored margin); the mean over positions and channels. In float64: in plain
    areas E x^2 - (E x)^2 would leave float32 three digits.
    """
    x, y = images.double(), targets.double()
    rows, columns = (_gaussian_filter(side, window).to(x) for side in images.shape[2:])
    mean_x, mean_y, *products = rows @ torch.stack([x, y, x * x, y * y, x * y]) @ columns.T
    var_x, var_y, covariance = (p - q for p, q in zip(products, [mean_x**2, mean_y**2, mean_x * mean_y], strict=True))
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return (luminance * (2 * covariance + C2) / (var_x + var_y + C2)).mean((1, 2, 3))


def _gaussian_filter(side: int, window: int) -> Tensor:
    """Return the filter as a matrix (side - window + 1, side), whose rows are the window at each position."""
    offset = torch.arange(side) - torch.arange(side - window + 1)[:, None] - window // 2
    taps = (-0.5 * (offset.double() / (SIGMA * window / WINDOW)) ** 2).exp() * (offset.abs() <= window // 2)
    return taps / taps.sum(1, keepdim=True)
