"""Differentiable augmentations of what a discriminator sees, reals and fakes alike."""
