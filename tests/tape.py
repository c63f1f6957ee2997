"""CUDA graphs on a CPU: operations are recorded with the tensors they read and wrote, and done again on the same ones.

As with a graph, nothing of Python happens in a replay: a number that was read from the clock while recording stays what
it was. What it can't show are faults of CUDA's own (streams, pools of memory, kernels that can't be captured).
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# what makes the host wait for the device: a value is read, or a shape depends on one
WAITING = {
    torch.ops.aten._local_scalar_dense,
    torch.ops.aten.equal,
    torch.ops.aten.is_nonzero,
    torch.ops.aten.masked_select,
    torch.ops.aten.nonzero,
    torch.ops.aten.repeat_interleave,
    torch.ops.aten._unique2,
    torch.ops.aten.unique_dim,
    torch.ops.aten.bincount,
}


class NoWaiting(TorchDispatchMode):
    """Raises RuntimeError at what would make the host wait, were the tensors on a GPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        masks = func.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_)
        if func.overloadpacket in WAITING or masks and any(i is not None and i.dtype == torch.bool for i in args[1]):
            raise RuntimeError(f"{func} would wait for the device")
        return func(*args, **(kwargs or {}))


def strictly(module) -> None:
    """From now on the engine's iterations raise RuntimeError at what would make the host wait for a GPU."""
    iterate = module.iterate

    def watched(batch):
        with NoWaiting(), torch.device("meta"):  # what is made without saying where could not be moved from there
            iterate(batch)

    module.iterate = watched


class Tape(NoWaiting):
    """What was done, to be done again."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = super().__torch_dispatch__(func, types, args, kwargs)
        self.calls.append((func, args, kwargs or {}, out))
        return out

    @torch.no_grad()
    def play(self) -> None:
        for func, args, kwargs, out in self.calls:
            read = {t.untyped_storage().data_ptr() for t in _tensors((args, kwargs))}
            for old, new in zip(_tensors(out), _tensors(func(*args, **kwargs)), strict=True):
                if old.untyped_storage().data_ptr() not in read:  # else it is a view, or was written in place
                    old.copy_(new)


class Tapes:
    """Stands in for ``CudaGraphs``."""

    played = 0

    def warm_up(self, work):
        work()

    def record(self, work, generators):
        tape, fresh = Tape(), [True]
        with tape:
            work()

        def play():
            Tapes.played += 1
            if fresh:
                fresh.clear()  # recording did it, too, which recording a graph does not
            else:
                tape.play()

        return play


def _tensors(tree) -> list[torch.Tensor]:
    leaves = torch.utils._pytree.tree_leaves(tree)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
