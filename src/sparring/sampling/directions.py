"""Directions of a generator's latents that were found without labels."""

import torch
from torch import Tensor, nn

from sparring.config.errors import UserError
from sparring.distributed import signals
from sparring.networks.stylegan2 import EqualLinear
from sparring.sampling.latent_space import Space


def directions(space: Space, count: int) -> tuple[Tensor, Tensor]:
    """The unit directions (count, dim) that the first layers amplify most, and the share of each of what they do (count,).

    Eigenvectors of A^T A, of the largest eigenvalues, where A are the weights of the layers that read the points (Shen & Zhou
    2021, SeFa, eq. 4): of a DCGAN the first layer; of BigGAN also those of the blocks that are told parts of z; of StyleGAN2
    the affine maps of the styles. The sign is such that the largest number is positive.
    """
    a = first_weights(space).double()
    values, vectors = torch.linalg.eigh(a.T @ a)
    found = vectors.T.flip(0)[:count]
    signs = found.gather(1, found.abs().argmax(1, keepdim=True)).sign()
    return (found * signs).to(space.measured), (values.flip(0)[:count] / values.sum()).float()


@torch.no_grad()
def first_weights(space: Space) -> Tensor:
    """The weights (outputs, dim) of all layers that are given numbers of a point as they are.

    They are read off what the layers answer to 0 and to the unit vectors, so that whatever scales or normalises the weights
    (equalised learning rates, spectral norm) is in them.

    Raises:
        UserError: there is no such layer, so that nothing is linear in the point.
    """
    answers: dict[nn.Module, list[Tensor]] = {}
    reads: dict[nn.Module, bool] = {}

    def look(layer: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> None:
        changes = given[0].flatten(1)[1:] - given[0].flatten(1)[:1]  # (units, inputs)
        reads[layer] = reads.get(layer, True) and bool(((changes == 0) | (changes == 1)).all())
        if reads[layer]:
            answers.setdefault(layer, []).append((answer[1:] - answer[:1]).flatten(1))

    layers = [m for m in space.producer.modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd | EqualLinear)]
    hooks = [layer.register_forward_hook(look) for layer in layers]
    units = torch.eye(space.dim, device=space.measured.device, dtype=space.measured.dtype)
    try:
        for part in units.split(space.sampler.batch_size):
            signals.raise_if_interrupted()
            space.make(torch.cat([torch.zeros_like(part[:1]), part]))
    finally:
        for hook in hooks:
            hook.remove()
    found = [torch.cat(parts).T for layer, parts in answers.items() if reads[layer]]
    if not any(weights.any() for weights in found):
        raise UserError(
            f"sample.kind=directions: no layer of {type(space.producer).__name__} reads its latents as they are"
        )
    return torch.cat(found)
