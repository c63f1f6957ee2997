"""A recurrent language model that samples by straight-through Gumbel-softmax, and a convolutional discriminator."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, log_softmax, pad

from sparring.networks.arguments import Blocks, Dropout, Group, Length, Width
from sparring.networks.base_discriminator import BaseDiscriminator

Temperature = Annotated[float, Field(gt=0, le=100)]


class Generator(nn.Module):
    """Gumbel noise (batch, length, symbols) -> one-hot units (batch, length, symbols), each given those before.

    Unit t is the argmax of logits_t / temperature + noise_t, a draw from softmax(logits_t / temperature) (Gumbel 1954).
    Its gradient is that of softmax((logits_t / temperature + noise_t) / tau): straight-through Gumbel-softmax (Jang et
    al. 2017, section 2.2; Maddison et al. 2017; for text GANs Kusner & Hernandez-Lobato 2016). The unit is the next
    input, so that its gradient reaches the units before it.

    Args:
        symbols: size of the vocabulary.
        length: units of an example.
        width: numbers of an embedding, and units of each layer.
        layers: of the LSTM.
        tau: smoothness of the gradient: a small one has less bias and more variance.
        temperature: below 1 samples are likelier and less varied (Caccia et al. 2020).
    """

    def __init__(
        self,
        symbols: int,
        length: Length,
        width: Width = 256,
        layers: Blocks = 1,
        tau: Temperature = 1.0,
        temperature: Temperature = 1.0,
    ):
        super().__init__()
        self.length, self.tau, self.temperature = length, tau, temperature
        self.embedding = nn.Linear(symbols, width, bias=False)
        self.first = nn.Parameter(torch.zeros(width))  # the input of the first unit
        self.recurrent = nn.LSTM(width, width, layers, batch_first=True)
        self.out = nn.Linear(width, symbols)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def forward(self, latents: Tensor, labels: None = None) -> Tensor:
        x, state, units = self.first.expand(len(latents), 1, -1), None, []
        for noise in latents.unbind(1):
            hidden, state = self.recurrent(x, state)
            scores = self.out(hidden[:, 0]).to(noise.dtype) / self.temperature + noise
            soft = (scores / self.tau).softmax(1)
            hard = torch.zeros_like(soft).scatter_(1, scores.argmax(1, keepdim=True), 1)
            units.append(hard + soft - soft.detach() if soft.requires_grad else hard)
            x = self.embedding(units[-1])[:, None]
        return torch.stack(units, 1)

    def log_likelihood(self, units: Tensor, temperature: float = 1.0) -> Tensor:
        """Return log p of each unit given those before it, in nats, (batch, length).

        Args:
            units: one-hot, (batch, length, symbols).
            temperature: the model's own is 1, whatever the temperature of its samples.
        """
        first = self.first.expand(len(units), 1, -1)
        hidden, _ = self.recurrent(torch.cat([first, self.embedding(units[:, :-1])], 1))
        return (log_softmax(self.out(hidden).to(units.dtype) / temperature, 2) * units).sum(2)


class Discriminator(BaseDiscriminator):
    """One-hot units (batch, length, symbols) -> logits (batch,).

    Residual blocks of convolutions over 5 units (Gulrajani et al. 2017, the language model of section 5.4 and its
    published code); the features are the mean and the largest of every channel over the text (the latter as in Kim
    2014).

    Args:
        symbols: size of the vocabulary.
        width: channels.
        layers: residual blocks; n of them see 8n + 1 units around each position.
        dropout: probability, for each feature.
        minibatch_stddev: group size of ``MinibatchStddev``, 0 for none.
    """

    def __init__(
        self, symbols: int, width: Width = 256, layers: Blocks = 2, dropout: Dropout = 0.0, minibatch_stddev: Group = 0
    ):
        super().__init__(2 * width, 0, minibatch_stddev)
        self.embedding = nn.Linear(symbols, width)
        self.blocks = nn.ModuleList(
            nn.ModuleList([nn.Conv1d(width, width, 5), nn.Conv1d(width, width, 5)]) for _ in range(layers)
        )
        self.dropout = nn.Dropout(dropout)

    def features(self, units: Tensor) -> Tensor:
        x = self.embedding(units).transpose(1, 2)  # (batch, width, length)
        for block in self.blocks:
            inner = x
            for layer in block.children():
                inner = layer(pad(leaky_relu(inner, 0.2), (2, 2)))
            x = x + 0.3 * inner  # as the published code
        return self.dropout(torch.cat([x.mean(2), x.amax(2)], 1))
