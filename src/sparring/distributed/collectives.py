"""What the ranks of one run say to each other, and the strategy that trains them as one.

Every rank holds the whole game and sees its own part of each global batch (``randomness.py``); the parts' gradients are
averaged before a player's optimizer steps, so all ranks take the same step and stay the same. Nothing is wrapped:
several turns an iteration, penalties with double backward, accumulation and any number of players need no special case.
Alone, every function here is free.
"""

import os
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

# ---- training ---------------------------------------------------------------------------------------------------


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their mean over the ranks, in one all-reduce. Which parameters have one depends on no rank."""
    if not dist.is_initialized():
        return
    if gradients := [parameter.grad for parameter in parameters if parameter.grad is not None]:
        flat = _flat(gradients)
        dist.all_reduce(flat)
        _unflatten(flat.div_(world_size()), gradients)


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Give every rank the first one's values, in place: one broadcast a type."""
    if dist.is_initialized():
        tensors = list(tensors)
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            alike = [tensor.data for tensor in tensors if tensor.dtype == dtype]
            flat = _flat(alike)
            dist.broadcast(flat, src=0)
            _unflatten(flat, alike)


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _unflatten(flat: Tensor, tensors: list[Tensor]) -> None:
    parts = flat.split([tensor.numel() for tensor in tensors])
    torch._foreach_copy_(tensors, [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)])


# ---- agreeing ---------------------------------------------------------------------------------------------------


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def writes_here() -> bool:
    """Whether this rank writes what the ranks of a machine share; one of them does."""
    return int(os.environ.get("LOCAL_RANK", rank())) == 0


def all_reduce(tensors: Iterable[Tensor]) -> None:
    """Sum tensors over the ranks, in place. Every rank calls this with tensors of the same shapes."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.all_reduce(tensor)


def all_agree(flag: bool) -> bool:
    """Whether ``flag`` holds on every rank."""
    votes = torch.tensor([int(flag)])
    all_reduce([votes])
    return int(votes) == world_size()


def gather_objects(value: Any) -> list[Any]:
    """The ranks' values, in their order, on every rank. Tensors among them should be on the CPU."""
    values = [value] * world_size()
    if dist.is_initialized():
        dist.all_gather_object(values, value)
    return values


def broadcast_object(value: Any) -> Any:
    """The first rank's value, on every rank."""
    told = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(told, src=0)
    return told[0]


def barrier() -> None:
    """On the CPU, so that no rank waits for its device."""
    all_reduce([torch.zeros(1)])


class DelayedMax:
    """The largest of the numbers that the ranks name; told one call later, so that nobody waits for the others."""

    def __init__(self):
        self._asked: tuple[dist.Work, Tensor] | None = None

    def __call__(self, number: int) -> int:
        if not dist.is_initialized():
            return number
        told = self.told()
        largest = torch.tensor([number])
        self._asked = dist.all_reduce(largest, op=dist.ReduceOp.MAX, async_op=True), largest
        return told

    def told(self) -> int:
        """What came of the last call."""
        if self._asked is None:
            return 0
        work, largest = self._asked
        work.wait()
        self._asked = None
        return int(largest)
