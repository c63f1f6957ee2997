"""Average gradients over ranks, and other values that the ranks of a run exchange.

Every rank holds the whole game and sees its own part of each global batch (``randomness.py``). Gradients are averaged
before a player's optimizer steps, so all ranks take the same step and keep the same weights. No network is wrapped:
several turns an iteration, double backward and accumulation need no special case. With one process all functions here
return at once.
"""

import os
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their mean over the ranks, in one all-reduce.

    All ranks must have gradients for the same parameters.
    """
    if not dist.is_initialized():
        return
    if gradients := [parameter.grad for parameter in parameters if parameter.grad is not None]:
        flat = _flatten(gradients)
        dist.all_reduce(flat)
        _unflatten(flat.div_(world_size()), gradients)


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Copy the first rank's values to every rank, in place, in one broadcast for each dtype."""
    if dist.is_initialized():
        tensors = [tensor.data for tensor in tensors]
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            same_dtype = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = _flatten(same_dtype)
            dist.broadcast(flat, src=0)
            _unflatten(flat, same_dtype)


def _flatten(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _unflatten(flat: Tensor, tensors: list[Tensor]) -> None:
    parts = flat.split([tensor.numel() for tensor in tensors])
    parts = [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]
    torch._foreach_copy_(tensors, parts)  # pyright: ignore[reportPrivateImportUsage]


def rank() -> int:
    """Return this process's rank; 0 without ranks."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of ranks; 1 without ranks."""
    return dist.get_world_size() if dist.is_initialized() else 1


def writes_here() -> bool:
    """Return True on the one rank of each machine that writes files shared by its ranks."""
    return int(os.environ.get("LOCAL_RANK", rank())) == 0


def all_reduce(tensors: Iterable[Tensor]) -> None:
    """Sum tensors over the ranks, in place. Every rank passes tensors of the same shapes."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.all_reduce(tensor)


def all_agree(flag: bool) -> bool:
    """Return True if ``flag`` is true on every rank."""
    votes = torch.tensor([int(flag)])
    all_reduce([votes])
    return int(votes) == world_size()


def gather_objects(value: Any) -> list[Any]:
    """Return the values of all ranks, in rank order, on every rank. Tensors in them should be on the CPU."""
    values = [value] * world_size()
    if dist.is_initialized():
        dist.all_gather_object(values, value)
    return values


def broadcast_object(value: Any) -> Any:
    """Return the first rank's value on every rank."""
    values = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(values, src=0)
    return values[0]


def barrier() -> None:
    """Wait until all ranks are here. It runs on the CPU, so that no rank waits for its device."""
    all_reduce([torch.zeros(1)])


class DelayedMax:
    """The largest number over the ranks. Each call returns the result of the call before, so that no rank waits."""

    def __init__(self):
        self._pending: tuple[dist.Work, Tensor] | None = None

    def __call__(self, number: int) -> int:
        if not dist.is_initialized():
            return number
        previous, largest = self.result(), torch.tensor([number])
        self._pending = dist.all_reduce(largest, op=dist.ReduceOp.MAX, async_op=True), largest
        return previous

    def result(self) -> int:
        """Wait for the last call's result and return it; 0 if it was returned already."""
        if self._pending is None:
            return 0
        work, largest = self._pending
        work.wait()
        self._pending = None
        return int(largest)
