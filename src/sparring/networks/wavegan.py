"""WaveGAN (Donahue et al. 2019, Adversarial Audio Synthesis): a DCGAN of one axis, for sounds of 16 * 4**n samples."""

from typing import Literal

import torch
from torch import Tensor, nn

from sparring.networks.arguments import Classes, Group, Length, Width
from sparring.networks.base_discriminator import BaseDiscriminator
from sparring.networks.layers import LabelledLatents, normalization

KERNEL, STRIDE, COARSEST = 25, 4, 16  # samples


def stages(length: int) -> int:
    """Return n of length = 16 * 4**n: how many times a sound becomes four times as long.

    Raises:
        ValueError: for another length, naming possible ones.
    """
    lengths = [COARSEST * STRIDE**n for n in range(1, 10)]
    if length not in lengths:
        possible = ", ".join(f"{each:,}" for each in lengths[:5])
        raise ValueError(f"length={length}: WaveGAN makes sounds (data=audio) of 16 * 4**n samples: {possible} ...")
    return 1 + lengths.index(length)


def initialize(module: nn.Module) -> None:
    """Glorot & Bengio's uniform weights and no bias, TensorFlow's default, with which the authors trained."""
    if isinstance(module, nn.Conv1d | nn.ConvTranspose1d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class PhaseShuffle(nn.Module):
    """Shift activations (batch, C, length) by -reach to reach samples in training, mirrored at the ends (section 3.3).

    Upsampling leaves a tone at a fixed phase, by which D could recognise fakes. A pass draws one shift for its whole
    batch, as in the authors' code, from torch's own random numbers, as dropout does: ranks, and the parts of an
    accumulated batch, draw their own, and so differ from one process.
    """

    def __init__(self, reach: int):
        super().__init__()
        self.reach = reach

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.reach == 0:
            return x
        last = x.shape[2] - 1
        shift = torch.randint(-self.reach, self.reach + 1, (), device=x.device)
        positions = torch.arange(last + 1, device=x.device) - shift
        return x.index_select(2, last - (last - positions.abs()).abs())


class Generator(nn.Module):
    """Latents (batch, latent_dim), labels (batch,) -> sounds (batch, channels, length) in [-1, 1].

    At 16,384 samples, width 64 and 100 latents: 19,065,345 parameters, as in table 3 of the paper.

    Args:
        latent_dim, num_classes: see ``arguments``.
        length: samples, 16 * 4**n.
        channels: of the sounds; 1.
        width: channels of the finest stage; the paper's d.
        norm: normalisation after every hidden layer, none in the paper; ``batch``, an option of its code, learns
            sooner.
    """

    def __init__(
        self,
        length: Length,
        channels: int = 1,
        latent_dim: Width = 100,
        width: Width = 64,
        num_classes: Classes = 0,
        norm: Literal["none", "batch"] = "none",
    ):
        super().__init__()
        widths = [width * 2**level for level in reversed(range(stages(length)))]
        self.latents = LabelledLatents(latent_dim, num_classes)
        layers: list[nn.Module] = [
            nn.Linear(self.latents.dim, COARSEST * widths[0]),
            nn.Unflatten(1, (widths[0], COARSEST)),
        ]
        for coarse, fine in zip(widths, widths[1:] + [channels], strict=True):
            up = nn.ConvTranspose1d(coarse, fine, KERNEL, STRIDE, padding=11, output_padding=1)
            layers += [normalization(norm, coarse, axes=1), nn.ReLU(inplace=True), up]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        self.apply(initialize)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(self.latents(latents, labels))


class Discriminator(BaseDiscriminator):
    """Sounds (batch, channels, length) in [-1, 1], labels (batch,) -> logits (batch,).

    At 16,384 samples and width 64: 17,427,969 parameters, as in table 4 of the paper.

    Args:
        num_classes, minibatch_stddev: see ``arguments``.
        length: samples, 16 * 4**n.
        channels: of the sounds, times ``packing``.
        width: channels of the finest stage; the paper's d.
        phase_shuffle: largest shift in samples, before every layer but the first (``PhaseShuffle``); 0 for none.
    """

    def __init__(
        self,
        length: Length,
        channels: int = 1,
        width: Width = 64,
        num_classes: Classes = 0,
        phase_shuffle: Group = 2,
        minibatch_stddev: Group = 0,
    ):
        n = stages(length)
        shortest = COARSEST * STRIDE  # samples of the coarsest stage that is shuffled; with one stage none is
        if phase_shuffle >= shortest and n > 1:
            raise ValueError(f"phase_shuffle={phase_shuffle}: samples, at most {shortest - 1}; 0 for none")
        widths = [width * 2**level for level in range(n)]
        super().__init__(COARSEST * widths[-1], num_classes, minibatch_stddev)
        layers: list[nn.Module] = []
        for i, o in zip([channels, *widths], widths, strict=False):
            layers += [nn.Conv1d(i, o, KERNEL, STRIDE, padding=11), nn.LeakyReLU(0.2, inplace=True)]
            layers += [PhaseShuffle(phase_shuffle)]
        self.layers = nn.Sequential(*layers[:-1], nn.Flatten())
        self.apply(initialize)
