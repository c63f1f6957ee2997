"""Differentiable augmentations of what a discriminator sees, reals and fakes alike."""

from sparring.augment.ada import ADA
from sparring.augment.base import Augment
from sparring.augment.diffaugment import DiffAugment

__all__ = ["ADA", "Augment", "DiffAugment"]
