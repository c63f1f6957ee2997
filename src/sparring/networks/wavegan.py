"""WaveGAN (Donahue et al. 2019, Adversarial Audio Synthesis): a DCGAN of one dimension, for sounds of 16 * 4**n samples."""

from typing import Literal

import torch
from torch import Tensor, nn

from sparring.networks.layers import BaseDiscriminator, LabelledLatents, normalization

KERNEL, STRIDE, COARSEST = 25, 4, 16  # samples


def stages(length: int) -> int:
    """N of length = 16 * 4**n: how many times a sound becomes four times as long.

    Raises:
        ValueError: for another length, naming those that are.
    """
    n = next((n for n in range(1, 10) if COARSEST * STRIDE**n == length), None)
    if n is None:
        lengths = ", ".join(f"{COARSEST * STRIDE**n:,}" for n in range(1, 6))
        raise ValueError(
            f"length={length}: the samples of a sound must be 16 times a power of four, {lengths} ...; WaveGAN is for data of that "
            "kind (data=audio)"
        )
    return n


def stage_widths(width: int, n: int) -> list[int]:
    """Channels of the n stages from the coarsest to the finest: doubling towards the coarse."""
    return [width * 2**level for level in reversed(range(n))]


def initialize(module: nn.Module) -> None:
    """Glorot & Bengio's uniform weights and no bias, TensorFlow's default, with which the authors trained."""
    if isinstance(module, nn.Conv1d | nn.ConvTranspose1d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


class PhaseShuffle(nn.Module):
    """In training moves activations (batch, C, length) by -reach to reach samples, mirrored at the ends (section 3.3).

    Upsampling leaves a tone of its own at a fixed phase, by which D would know fakes; it must not hear the phase so exactly. A pass
    has one move for its whole batch, as in the authors' code, drawn like dropout from torch's own numbers: several ranks, or the parts of
    an accumulated batch, each move their own way, and do not equal one process.
    """

    def __init__(self, reach: int):
        super().__init__()
        self.reach = reach

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.reach == 0:
            return x
        last = x.shape[2] - 1
        shift = torch.randint(-self.reach, self.reach + 1, (), device=x.device)
        places = torch.arange(last + 1, device=x.device) - shift
        return x.index_select(2, last - (last - places.abs()).abs())


class Generator(nn.Module):
    """Latents (batch, latent_dim), labels (batch,) -> sounds (batch, channels, length) in [-1, 1].

    At 16,384 samples, width 64 and 100 latents: 19,065,345 parameters, those of table 3 of the paper.

    Args:
        length: samples, 16 * 4**n.
        channels: of the sounds; 1.
        latent_dim: size of the noise vector.
        width: channels of the finest stage; the paper's d.
        num_classes: number of labels, 0 for an unconditional network.
        norm: normalisation after every hidden layer. The paper has none; with ``batch``, an option of the authors' code, a generator
            learns sooner.
    """

    def __init__(
        self,
        length: int,
        channels: int = 1,
        latent_dim: int = 100,
        width: int = 64,
        num_classes: int = 0,
        norm: Literal["none", "batch"] = "none",
    ):
        super().__init__()
        widths = stage_widths(width, stages(length))
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

    At 16,384 samples and width 64: 17,427,969 parameters, those of table 4 of the paper.

    Args:
        length: samples, 16 * 4**n.
        channels: of the sounds, times ``packing``.
        width: channels of the finest stage; the paper's d.
        num_classes: number of labels, 0 for an unconditional network.
        phase_shuffle: samples by which activations are moved at most, before every layer but the first (PhaseShuffle).
        minibatch_stddev: group size of one more feature that tells how much a batch varies, 0 for none.
    """

    def __init__(
        self,
        length: int,
        channels: int = 1,
        width: int = 64,
        num_classes: int = 0,
        phase_shuffle: int = 2,
        minibatch_stddev: int = 0,
    ):
        n = stages(length)
        shortest = COARSEST * STRIDE  # of what is shuffled; at 64 samples nothing is
        if phase_shuffle < 0 or (phase_shuffle >= shortest and n > 1):
            raise ValueError(f"phase_shuffle={phase_shuffle}: samples, at most {shortest - 1}; 0 for none")
        widths = stage_widths(width, n)[::-1]
        super().__init__(COARSEST * widths[-1], num_classes, minibatch_stddev)
        layers: list[nn.Module] = []
        for i, o in zip([channels, *widths], widths, strict=False):
            layers += [nn.Conv1d(i, o, KERNEL, STRIDE, padding=11), nn.LeakyReLU(0.2, inplace=True)]
            layers += [PhaseShuffle(phase_shuffle)]
        self.layers = nn.Sequential(*layers[:-1], nn.Flatten())
        self.apply(initialize)

    def features(self, sounds: Tensor) -> Tensor:
        return self.layers(sounds)
