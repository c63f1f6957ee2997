"""Pairs of networks of a family, with weights of which none is zero."""

import torch
from torch import nn


def a_pair(family, size=32, classes=0, width=8, **options) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    sizes = {"image_size": size, "width": width, "num_classes": classes}
    return family.Generator(latent_dim=6, **sizes), family.Discriminator(**sizes, **options)


def awake(network: nn.Module) -> nn.Module:
    """The network in float64 with every parameter random: nothing that starts at zero hides a mistake."""
    torch.manual_seed(1)
    for parameter in network.double().parameters():
        if parameter.std(correction=0) == 0:
            nn.init.normal_(parameter, std=0.3)
    return network
