"""DualPyramidNet: the same pyramid of convolutions over each spectrum, then a perceptron over both.

Legend: B batch, L points of one branch, C channels, D features, T labels. Source: the framework that the
older confs come from, in its first version and a later one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models import register_model
from models.parts.blocks import ChannelGate
from models.parts.dead import biases_before_norm
from models.parts.dense import dense
from models.parts.gates import PositionGate
from models.parts.pyramid import Pyramid, convolution

KERNELS = {"v1": (3, 5, 7), "v2": (3, 5, 9)}
HIDDEN = {"v1": (256, 128), "v2": (512, 256, 128)}
STEM = 16


@register_model("DualPyramidNet")
class DualPyramidNet(nn.Module):
    """Two pyramids of convolutions with gates, one per spectrum, their means joined.

    v1 (published: 444,984 parameters) gates channels; v2 (781,508) gates every position and has BatchNorm. As
    published (`layout: faithful`) nothing is ever pooled, so that every layer works on every point, and
    biases before BatchNorm get no gradient. The repaired layout, the default, halves the length after each
    block, which is several times faster, and leaves these biases out: 444,600 and 780,612. With 4 labels,
    whatever the number of points.

    Takes continuum and normalized spectrum, [B, L] each; gives [B, T].

    Args:
        version: v1, channels are gated; v2, positions are gated, with BatchNorm and a deeper head.
        layout: repaired, pooled by two after each block, or faithful, at full length throughout.
        channels: of each path, by block.
        reduction: how much narrower the gates of v1 are in between.
        dropout: after the hidden layers.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        version: Literal["v1", "v2"] = "v1",
        layout: Literal["repaired", "faithful"] = "repaired",
        channels: Sequence[int] = (16, 32, 64),
        reduction: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        faithful = layout == "faithful"

        def pyramid() -> nn.Sequential:
            return _pyramid(version, channels, reduction, pooled=not faithful)

        self.continuum = pyramid()
        self.normalized = pyramid()
        width = 2 * channels[-1] * len(KERNELS[version])
        self.head = dense(width, HIDDEN[version], labels, dropout, batch_norm=True, bias=faithful)
        self.dead = biases_before_norm(self)
        self.apply(_he_normal)

    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        continuum_BD = self.continuum(continuum_BL[:, None, :]).mean(dim=2)
        normalized_BD = self.normalized(normalized_BL[:, None, :]).mean(dim=2)
        y_BT: Tensor = self.head(torch.cat((continuum_BD, normalized_BD), dim=1))
        return y_BT


def _pyramid(version: str, channels: Sequence[int], reduction: int, pooled: bool) -> nn.Sequential:
    batch_norm = version == "v2"
    layers: list[nn.Module] = [*convolution(1, STEM, 7, batch_norm), nn.ReLU()]
    width = STEM
    for one in channels:
        joined = one * len(KERNELS[version])
        gate = PositionGate(joined) if version == "v2" else ChannelGate(joined, max(1, joined // reduction))
        layers.append(Pyramid(width, one, KERNELS[version], gate, batch_norm=batch_norm, last_relu=True))
        layers += [nn.AvgPool1d(2)] if pooled else []
        width = joined
    return nn.Sequential(*layers)


def _he_normal(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
