"""Points of a mixture whose modes are known."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sparring.config.errors import UserError
from sparring.data.image_grids import scatter
from sparring.data.modalities.base import Modality
from sparring.storage.files import atomic_write


class Points(Modality):
    """float32 (dims,), as they are."""

    name, ending = "points", ".npy"

    def scaled(self, stored: Tensor) -> Tensor:
        return stored.to(torch.get_default_dtype())

    def stored(self, produced: Tensor) -> Tensor:
        return produced.float()

    def seen(self, examples: Tensor) -> Tensor:
        raise UserError("these data are points, which only evaluation=modes can score (or evaluation=none)")

    def picture(self, examples: Tensor, columns: int) -> Tensor:
        """Return one plot of all."""
        return scatter(examples.cpu())

    def write(self, examples: Tensor, folder: Path) -> Path:
        """Write all to one array (batch, dims)."""
        with atomic_write(path := folder / "points.npy") as temporary, open(temporary, "wb") as file:
            np.save(file, examples.cpu().numpy())
        return path
