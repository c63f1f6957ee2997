"""Mirror padding."""

from torch import Tensor


def mirror_index(positions: Tensor, size: int) -> Tensor:
    """Mirror positions on an axis at its first and last pixel, until they are in [0, size - 1]."""
    last = max(size - 1, 1)
    return (last - (positions.remainder(2 * last) - last).abs()).clamp(max=size - 1)
