"""Directions in a generator's latents, found without labels (SeFa)."""

import torch
from torch import Tensor, nn

from sparring.config.errors import UserError
from sparring.distributed import signals
from sparring.networks.stylegan2 import EqualLinear
from sparring.sampling.latent_space import Space

LAYERS = (nn.Linear, EqualLinear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
LAYERS += (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def directions(space: Space, count: int) -> tuple[Tensor, Tensor]:
    """Return the directions that the first layers amplify most (Shen & Zhou 2021, SeFa, eq. 4).

    They are the eigenvectors of A^T A with the largest eigenvalues. A holds the weights of the layers that read the
    points: the first layer of a DCGAN; also those that read parts of z in BigGAN's blocks; the affine maps of
    StyleGAN2's styles.

    Returns:
        Unit vectors (count, dim), signed so that the largest number is positive, and the share of each eigenvalue in
        their sum (count,).
    """
    a = first_weights(space).double()
    values, vectors = torch.linalg.eigh(a.T @ a)  # in ascending order
    strongest = vectors.T.flip(0)[:count]
    signs = strongest.gather(1, strongest.abs().argmax(1, keepdim=True)).sign()
    return (strongest * signs).to(space.measured), (values.flip(0)[:count] / values.sum()).float()


@torch.no_grad()
def first_weights(space: Space) -> Tensor:
    """Return the weights (outputs, dim) of all layers that read the numbers of a point directly.

    They are outputs for the unit vectors minus the output for 0, and so include what scales or normalises weights, such
    as equalised learning rates and spectral norm. Raise UserError if no layer reads the points directly.
    """
    weights: dict[nn.Module, list[Tensor]] = {}
    reads_points: dict[nn.Module, bool] = {}

    def measure(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        changes = inputs[0].flatten(1)[1:] - inputs[0].flatten(1)[:1]  # (units, inputs)
        reads_points[layer] = reads_points.get(layer, True) and bool(((changes == 0) | (changes == 1)).all())
        if reads_points[layer]:
            weights.setdefault(layer, []).append((output[1:] - output[:1]).flatten(1))

    hooks = [m.register_forward_hook(measure) for m in space.producer.modules() if isinstance(m, LAYERS)]
    units = torch.eye(space.dim, device=space.measured.device, dtype=space.measured.dtype)
    try:
        for part in units.split(space.sampler.batch_size):
            signals.raise_if_interrupted()
            space.make(torch.cat([torch.zeros_like(part[:1]), part]))
    finally:
        for hook in hooks:
            hook.remove()
    first = [torch.cat(parts).T for layer, parts in weights.items() if reads_points[layer]]
    if not any(each.any() for each in first):
        raise UserError(
            f"sample.kind=directions: no layer of {type(space.producer).__name__} reads its latents as they are"
        )
    return torch.cat(first)
