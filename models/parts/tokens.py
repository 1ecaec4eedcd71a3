"""Transformer layers over pieces of a spectrum, and how they know their places.

Legend: S tokens, D features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def encoder(
    features: int, heads: int, feedforward: int, layers: int, dropout: float
) -> nn.TransformerEncoder:
    """Return standard encoder layers, normalised after each sum (Vaswani et al. 2017, arXiv 1706.03762)."""
    layer = nn.TransformerEncoderLayer(features, heads, feedforward, dropout, batch_first=True)
    network = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)  # the layers are copies of one and would begin alike
    return network


def sinusoid(tokens: int, features: int, base: float = 10000.0) -> Tensor:
    """Return the places of tokens as sines (even features) and cosines (odd), [S, D]."""
    place_S1 = torch.arange(tokens, dtype=torch.float32)[:, None]
    rate_D = torch.exp(torch.arange(0, features, 2) * (-math.log(base) / features))
    code_SD = torch.zeros(tokens, features)
    code_SD[:, 0::2] = torch.sin(place_S1 * rate_D)
    code_SD[:, 1::2] = torch.cos(place_S1 * rate_D)[:, : features // 2]
    return code_SD
