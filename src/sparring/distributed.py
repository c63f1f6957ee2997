"""What the ranks of one run say to each other. Alone, every function here is free."""

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def writes_here() -> bool:
    """Whether this rank writes what the ranks of a machine share; one of them does."""
    return int(os.environ.get("LOCAL_RANK", rank())) == 0


def add_up(tensors: Iterable[Tensor]) -> None:
    """Sum tensors over the ranks, in place. Every rank calls this with tensors of the same shapes."""
    if world_size() > 1:
        for tensor in tensors:
            if tensor.is_cpu and dist.get_backend() == "nccl":
                moved = tensor.cuda()
                dist.all_reduce(moved)
                tensor.copy_(moved)
            else:
                dist.all_reduce(tensor)


def all_agree(flag: bool) -> bool:
    """Whether ``flag`` holds on every rank."""
    votes = torch.tensor([int(flag)])
    add_up([votes])
    return int(votes) == world_size()


def wait_for_all() -> None:
    if world_size() > 1:
        dist.barrier()
