"""SAGAN (Zhang et al. 2019): residual networks with self-attention, both spectrally normalised.

Self-attention is at 32 pixels, as in the paper's networks for 128, and for smaller images at half their size. The
details are those of StudioGAN's CIFAR-10 score (Kang et al. 2023): orthogonal weights, batch norm's epsilon 1e-4.
"""

from sparring.networks import resnet
from sparring.networks.layers import initialize_orthogonally


class Generator(resnet.Generator):
    """``resnet.Generator`` with self-attention and spectral norm."""

    upsampling, eps, attention, spectral_norm = "nearest", 1e-4, 32, True
    initialize_weights = staticmethod(initialize_orthogonally)


class Discriminator(resnet.Discriminator):
    """``resnet.Discriminator`` with self-attention, whose blocks widen in their first convolution."""

    wide, attention = True, 32
    initialize_weights = staticmethod(initialize_orthogonally)
