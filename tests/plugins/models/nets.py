"""Networks of torch for the tests; imported only where torch is."""

from __future__ import annotations

import torch
from torch import nn


class Net(nn.Module):
    """4 numbers to 3 logits, with what keeps state and what draws between them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.layers(batch)


class Noisy(nn.Module):
    """The same with batch normalisation and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.layers(batch)
