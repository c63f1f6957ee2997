"""Mirror padding."""

from torch import Tensor


def mirror_index(places: Tensor, size: int) -> Tensor:
    """Places on an axis brought back into [0, size - 1] by mirrors at its first and last pixel."""
    last = max(size - 1, 1)
    return (last - (places.remainder(2 * last) - last).abs()).clamp(max=size - 1)
