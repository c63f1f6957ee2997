"""Which examples a run trains on, and which are kept from it."""

from typing import Literal

import torch
from torch import Tensor

from sparring.config.errors import UserError
from sparring.randomness import generator


class Rows:
    """Some rows of a column, which stays where it is, in a memory-mapped file for instance: read as a tensor is.

    Args:
        column: (N, ...), of any dtype.
        rows: which of them (n,) int64, in the order in which they come here.
    """

    def __init__(self, column: Tensor, rows: Tensor):
        self.column, self.rows = column, rows
        self.shape, self.dtype, self.ndim = torch.Size([len(rows), *column.shape[1:]]), column.dtype, column.ndim
        self.nbytes = self.shape.numel() * column.element_size()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: slice | Tensor) -> Tensor:
        return self.index_select(0, index)

    def index_select(self, dim: int, index: slice | Tensor) -> Tensor:
        return self.column.index_select(dim, self.rows[index])

    def cpu(self) -> Tensor:
        return self[:].cpu()

    def to(self, device: torch.device) -> Tensor:
        return self[:].to(device)


Columns = dict[str, Tensor]  # or Rows, of which nothing else is asked


def hold_out(
    columns: Columns, count: int | Literal["all"] | None, groups: Tensor | None = None
) -> tuple[Columns, Columns]:
    """Columns to train on, and ``count`` rows that are kept from it: the same ones whatever the seed, and more hold the fewer.

    Of unpaired columns, which may differ in length, the same rows are held out of each, so that rows that belong together
    (if some do) may be compared there.

    Args:
        columns: by name; the shortest decides which rows there are.
        count: how many; ``all``, which leaves nothing to train on; None for a tenth of the rows, at most 1,000.
        groups: (N,), of columns of one length: rows of equal numbers are held out together or not at all, about ``count`` of them.

    Raises:
        UserError: nothing would be left.
    """
    length = min(map(len, columns.values()))
    if count == "all":
        return {name: column[:0] for name, column in columns.items()}, columns
    count = min(max(length // 10, 1), 1000) if count is None else count
    if count >= length:
        raise UserError(
            f"data.held_out={count}: of {length:,} examples some must be left to train on; name fewer, or null for a tenth"
        )
    if count == 0:
        return columns, {name: column[:0] for name, column in columns.items()}
    held = torch.randperm(length, generator=generator("held out"))  # in this order, since data often lie by class
    if groups is None:
        held = held[:count]
    else:
        labels = columns["labels"][:] if "labels" in columns else torch.zeros(length, dtype=torch.int64)
        held = held[_whole(groups, labels, count)[held]]
    kept = {}
    for name, column in columns.items():
        rest = torch.ones(len(column), dtype=torch.bool).index_fill_(0, held, False)
        kept[name] = Rows(column, rest.nonzero().flatten())
    return kept, {name: column[held] for name, column in columns.items()}


def _whole(groups: Tensor, labels: Tensor, count: int) -> Tensor:
    """Which rows (N,) bool are of groups that are held out: as many groups as come nearest to ``count`` rows, one at least.

    They come in random order; those of more than a tenth of all rows last, the smaller before the larger. A group without which
    a class would have none left to train on stays.
    """
    _, groups, sizes = groups.unique(return_inverse=True, return_counts=True)
    order = torch.randperm(len(sizes), generator=generator("held-out groups"))
    order = order[sizes[order].clamp(min=len(groups) // 10).argsort(stable=True)]
    rows = groups.argsort(stable=True).split(sizes.tolist())
    left, chosen, total = labels.bincount(), [], 0
    for group in order.tolist():
        if total >= count:
            break
        after = left - labels[rows[group]].bincount(minlength=len(left))
        if (after[left > 0] > 0).all():
            left, total = after, total + len(rows[group])
            chosen.append(group)
    if not chosen:
        raise UserError(
            f"data.held_out: pieces of one file are held out together, and without any of the {len(sizes):,} files ({len(groups):,} "
            "examples) nothing, or nothing of its class, is left to train on: add files, or train on all with data.held_out=0"
        )
    if len(chosen) > 1 and total - count > count - (total - len(rows[chosen[-1]])):
        chosen.pop()  # without the last there are nearer as many
    return torch.isin(groups, torch.tensor(chosen))


def choose_subset(columns: Columns, count: int, seed: int) -> Columns:
    """The first ``count`` rows of an order that the seed decides.

    Raises:
        UserError: there are fewer.
    """
    length = min(map(len, columns.values()))
    if count > length:
        raise UserError(f"data.subset={count}: there are {length:,} examples")

    def some(column: Tensor) -> Tensor:
        order = torch.randperm(len(column), generator=generator(seed, "subset"))
        return column[order[:count].sort().values]

    return {name: some(column) for name, column in columns.items()}
