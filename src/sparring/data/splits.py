"""Split examples into those to train on and those held out from training."""

from typing import Literal

import torch
from omegaconf import DictConfig
from torch import Tensor

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.imbalance import long_tailed
from sparring.data.modalities.images import Images
from sparring.data.modalities.points import Points
from sparring.randomness import generator


class RowView:
    """The ``rows`` (n,) of a ``column`` (N, ...), read like a tensor but not copied: it may be a memory-mapped file."""

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


Columns = dict[str, Tensor]  # or a RowView, which has all that is used of a tensor here


def training_columns(cfg: DictConfig, data: Data, translates: bool) -> Columns:
    """Return the columns to train on: not held out, and thinned by ``data.long_tail`` and ``data.subset``.

    ``translates`` tells whether the generator maps inputs to outputs, so that it is scored on held-out inputs.

    Raises:
        UserError: a split that these data do not allow.
    """
    columns, _ = _split(cfg, data, translates)
    if cfg.data.long_tail is not None:
        columns = long_tailed(columns, cfg.data.long_tail)
    return columns if cfg.data.subset is None else choose_subset(columns, cfg.data.subset, cfg.seed)


def held_out_columns(cfg: DictConfig, data: Data, translates: bool) -> Columns:
    """Return the columns to sample and score with: without ``images`` where the targets of the inputs are unknown."""
    _, columns = _split(cfg, data, translates)
    if translates and not data.aligned:
        columns = {name: column for name, column in columns.items() if name != "images"}
    return columns


def _split(cfg: DictConfig, data: Data, translates: bool) -> tuple[Columns, Columns]:
    count = cfg.data.held_out
    if count is None and not translates and isinstance(data.modality, Images | Points):
        count = 0  # publications score them against the training data
    if count == 0 and translates:
        raise UserError("data.held_out=0: this model is scored on examples that it was not trained on; hold out some")
    return hold_out(data.columns, count, data.groups)


def hold_out(
    columns: Columns, count: int | Literal["all"] | None, groups: Tensor | None = None
) -> tuple[Columns, Columns]:
    """Split rows into a training part and a held-out part, which depends on no seed and contains every smaller one.

    Args:
        columns: by name. Unpaired columns may differ in length: the same row numbers are held out of each.
        count: rows to hold out; ``all``, which leaves nothing to train on; None for a tenth, at most 1,000.
        groups: (N,), for columns of one length: rows of equal numbers stay together, so about ``count`` are held out.

    Raises:
        UserError: nothing would be left to train on.
    """
    length = min(map(len, columns.values()))
    if count == "all":
        return {name: column[:0] for name, column in columns.items()}, columns
    count = min(max(length // 10, 1), 1000) if count is None else count
    if count >= length:
        raise UserError(
            f"data.held_out={count}: of {length:,} examples some must be left to train on: fewer, or null for a tenth"
        )
    if count == 0:
        return columns, {name: column[:0] for name, column in columns.items()}
    rows = torch.randperm(length, generator=generator("held out"))  # shuffled: data are often sorted by class
    if groups is None:
        rows = rows[:count]
    else:
        labels = columns["labels"][:] if "labels" in columns else torch.zeros(length, dtype=torch.int64)
        rows = rows[_in_held_out_groups(groups, labels, count)[rows]]
    training = {}
    for name, column in columns.items():
        rest = torch.ones(len(column), dtype=torch.bool).index_fill_(0, rows, False)
        training[name] = RowView(column, rest.nonzero().flatten())
    return training, {name: column[rows] for name, column in columns.items()}


def _in_held_out_groups(groups: Tensor, labels: Tensor, count: int) -> Tensor:
    """Return which rows (N,) bool belong to held-out groups: the number of groups that comes nearest to ``count`` rows.

    Groups come in random order, those of more than a tenth of all rows last, by size. At least one is held out, but
    none without which a class would have nothing to train on.
    """
    _, groups, sizes = groups.unique(return_inverse=True, return_counts=True)
    order = torch.randperm(len(sizes), generator=generator("held-out groups"))
    order = order[sizes[order].clamp(min=len(groups) // 10).argsort(stable=True)]
    members = groups.argsort(stable=True).split(sizes.tolist())
    left, chosen, total = labels.bincount(), [], 0
    for group in order.tolist():
        if total >= count:
            break
        remaining = left - labels[members[group]].bincount(minlength=len(left))
        if (remaining[left > 0] > 0).all():
            left, total = remaining, total + len(members[group])
            chosen.append(group)
    if not chosen:
        raise UserError(
            f"data.held_out: pieces of one file are held out together, and without any of the {len(sizes):,} files "
            f"({len(groups):,} examples) nothing, or nothing of a class, is left to train on: add files, or train on "
            "all with data.held_out=0"
        )
    if len(chosen) > 1 and total - count > count - (total - len(members[chosen[-1]])):
        chosen.pop()  # one group fewer is nearer to the count
    return torch.isin(groups, torch.tensor(chosen))


def choose_subset(columns: Columns, count: int, seed: int) -> Columns:
    """Return ``count`` rows of each column; a larger subset of the same seed contains every smaller one.

    Raises:
        UserError: there are fewer rows.
    """
    length = min(map(len, columns.values()))
    if count > length:
        raise UserError(f"data.subset={count}: there are {length:,} examples")

    def chosen_rows(column: Tensor) -> Tensor:
        order = torch.randperm(len(column), generator=generator(seed, "subset"))
        return column[order[:count].sort().values]

    return {name: chosen_rows(column) for name, column in columns.items()}
