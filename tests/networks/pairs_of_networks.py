"""Pairs of networks of a family, with weights of which none is zero, and derivatives by weights."""

import torch
from torch import nn


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def a_pair(family, size=32, classes=0, width=8, **options) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    sizes = {"image_size": size, "width": width, "num_classes": classes}
    return family.Generator(latent_dim=6, **sizes), family.Discriminator(**sizes, **options)


def awake(network: nn.Module) -> nn.Module:
    """The network in float64 with every parameter random: nothing that starts at zero hides a mistake."""
    torch.manual_seed(1)
    for parameter in network.double().parameters():
        if parameter.numel() == 1 or parameter.std(correction=0) == 0:
            nn.init.normal_(parameter, std=0.3)
    return network


def check_slope(function, network: nn.Module, step: float = 1e-6) -> None:
    """Compare the gradient by the network's weights, along a random direction, with a central difference."""
    weights = list(network.parameters())
    direction = [torch.randn_like(weight) for weight in weights]
    gradient = torch.autograd.grad(function(), weights, allow_unused=True)
    slope = sum((g * d).sum() for g, d in zip(gradient, direction, strict=True) if g is not None)
    values = []
    for size in (step, -2 * step):
        torch._foreach_add_([weight.data for weight in weights], direction, alpha=size)
        values.append(function().detach())
    torch.testing.assert_close(slope, (values[0] - values[1]) / (2 * step), rtol=1e-4, atol=0)
    assert slope != 0
