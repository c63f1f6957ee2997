"""Doubling and halving of images: the [1, 3, 3, 1] filter, and the sizes and widths of the stages."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparring.networks.layers import halvings


def pyramid(image_size: int, width: int, halve_above: int) -> list[tuple[int, int]]:
    """Return (size, channels) of the stages from the coarsest: ``width`` up to the size ``halve_above``, then halving.

    Raises:
        ValueError: for a size that is not b * 2**n with 4 <= b <= 7 (``halvings``), or if ``halve_above`` is below b.
    """
    base, n = halvings(image_size)
    if halve_above < base:
        raise ValueError(f"halve_above={halve_above}: must be at least {base}, the coarsest size")
    sizes = [base * 2**k for k in range(n + 1)]
    return [(size, max(width >> max(math.ceil(math.log2(size / halve_above)), 0), 1)) for size in sizes]


class _Filtered(torch.autograd.Function):
    """A depthwise convolution with a symmetric kernel, or its transpose: each is the other's gradient.

    PyTorch's own second derivative convolves channel after channel to get a gradient of the kernel, which is not
    needed.
    """

    @staticmethod
    def forward(ctx, x: Tensor, kernel: Tensor, stride: int, padding: int, transposed: bool) -> Tensor:
        ctx.save_for_backward(kernel)
        ctx.options = stride, padding, not transposed
        convolve = F.conv_transpose2d if transposed else F.conv2d
        weight = kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)
        return convolve(x, weight, stride=stride, padding=padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        return _Filtered.apply(gradient, *ctx.saved_tensors, *ctx.options), None, None, None, None


class Filter(nn.Module):
    """Images (batch, C, H, W) low-pass filtered by [1, 3, 3, 1] along each axis, zero-padded.

    Args:
        kind: ``up`` doubles the size, ``down`` halves it (both even), ``blur`` leaves H + 2 * padding - 3 of H.
        padding: zeros added on each side, for ``blur``.
        gain: factor of the result.
    """

    def __init__(self, kind: Literal["up", "down", "blur"], padding: int = 1, gain: float = 1.0):
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        gain = 4 * gain if kind == "up" else gain  # three of four pixels are zeros before the filter
        self.register_buffer("kernel", gain * torch.outer(taps, taps), persistent=False)
        self.options = 1 if kind == "blur" else 2, padding, kind == "up"

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # in the precision of its input
            return _Filtered.apply(x, self.kernel, *self.options)
