"""A small classifier and its training."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.functional import rgb_to_grayscale

from sparring.distributed import signals
from sparring.randomness import generator, seed_of

BATCH_SIZE = 128
MIN_BATCHES = 150  # however few the examples: as many as six epochs of 3,200


class Network(nn.Module):
    """Images (batch, C, H, W) in [-1, 1], reduced to 32 pixels -> features (batch, 128), logits (batch, classes)."""

    def __init__(self, channels: int, num_classes: int, width: int = 32):
        super().__init__()
        self.channels = channels
        layers = []
        for i, o in [(channels, width), (width, 2 * width), (2 * width, 4 * width)]:
            layers += [nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
        layers += [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(4 * width * 16, 128), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(128, num_classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if images.shape[-1] > 32:
            images = F.interpolate(images, size=(32, 32), mode="bilinear", antialias=True)
        features = self.layers(images)
        return features, self.head(features)


def network_input(images: Tensor, device: torch.device, channels: int) -> Tensor:
    """Return uint8 images as floats in [-1, 1] with 1 or 3 channels, on the device, channels-last."""
    images = images.to(device)
    if images.shape[1] != channels:
        images = rgb_to_grayscale(images, channels) if images.shape[1] == 3 else images.expand(-1, channels, -1, -1)
    return images.contiguous(memory_format=torch.channels_last).float().div_(127.5).sub_(1)


def batch_count(count: int, steps: int, epochs: int | None) -> int:
    """Return the number of batches for ``count`` examples: ``steps``, but at most ``epochs`` epochs or MIN_BATCHES."""
    return steps if epochs is None else min(steps, max(MIN_BATCHES, epochs * count // BATCH_SIZE + 1))


def train(
    images: Tensor,
    labels: Tensor,
    classes: int,
    device: torch.device,
    steps: int,
    epochs: int | None = 6,
    key: tuple[int | str, ...] = (),
) -> Network:
    """Train a classifier: Adam, one cycle of learning rates, shifts of up to two pixels.

    Its weights are a function of the images, the labels, the key and the kind of machine.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,), below ``classes``.
        classes: number of classes.
        device: where it is trained.
        steps: batches of 128.
        epochs: at most so many or, of few examples, 150 batches; None for no limit but the steps.
        key: decides the initial weights and the batches.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(*key) if key else 0)
        network = Network(images.shape[1], classes).to(device).train()
    steps = batch_count(len(images), steps, epochs)
    draws = generator("classifier batches", *key)
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        signals.raise_if_interrupted()
        rows = torch.randint(len(images), (BATCH_SIZE,), generator=draws)
        shift = torch.randint(-2, 3, (2,), generator=draws).tolist()
        batch = network_input(images[rows], device, images.shape[1]).roll(shift, (2, 3))
        loss = F.cross_entropy(network(batch)[1], labels[rows].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


@torch.inference_mode()
def accuracy(network: Network, images: Tensor, labels: Tensor) -> float:
    """Return the share of images (N, C, H, W) uint8 whose labels (N,) it predicts; 0 of no images."""
    device, right = network.head.weight.device, 0
    for part, known in zip(images.split(500), labels.split(500), strict=True):
        logits = network(network_input(part, device, network.channels))[1]
        right += int((logits.argmax(1).cpu() == known).sum())
    return right / max(len(images), 1)


def held_out(count: int) -> tuple[Tensor, Tensor]:
    """Return the rows of ``count`` examples to train on, and a fifth (at most 10,000) to test on; always the same."""
    order = torch.randperm(count, generator=generator("classifier split"))
    test = min(count // 5, 10_000)
    return order[test:], order[:test]
