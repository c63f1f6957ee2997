"""Class labels of samples."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sparring.config.errors import UserError


def cycle_labels(key: str, classes: Sequence[int] | Tensor | None, count: int, num_classes: int) -> Tensor | None:
    """Return labels (count,) that cycle through ``classes``, by default all ``num_classes``; None if there are 0.

    Raises:
        UserError: the generator has no such classes; ``key`` names them in the message.
    """
    if classes is None and not num_classes:
        return None
    labels = torch.as_tensor(range(num_classes) if classes is None else classes)
    if not num_classes:
        raise UserError(f"{key}={labels.tolist()}: this generator is unconditional (model.conditional=false)")
    is_list = labels.ndim == 1 and len(labels) > 0 and not labels.is_floating_point()
    if not is_list or labels.min() < 0 or labels.max() >= num_classes:
        raise UserError(f"{key}={labels.tolist()}: must be a list of classes; classes are 0 to {num_classes - 1}")
    return labels.cpu()[torch.arange(count) % len(labels)]
