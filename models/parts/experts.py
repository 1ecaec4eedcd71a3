"""Mixtures of experts: all experts in one pass, weighed star by star.

Legend: B batch, E experts, C channels, L positions.

A star takes its few best experts, the others get weight zero. All of them are computed, as one convolution
in groups: no loop over stars, the same shapes at every step, and every expert known to every rank.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Experts(nn.Module):
    """Small stacks of convolutions, one per expert, of the same sizes.

    Args:
        in_channels: channels of what all of them read.
        channels: channels of each convolution of an expert, first to last.
        kernels: points that each sees.
        experts: how many stacks there are.
        stride: of each convolution.
        batch_norm: normalise after each convolution.
        pool: points that a max pooling joins after each convolution; 1 for none.
        bias: keep the biases before BatchNorm, where a published count has them.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        kernels: Sequence[int],
        experts: int,
        stride: int = 1,
        batch_norm: bool = False,
        pool: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.experts, self.pool = experts, pool
        self.stages = nn.ModuleList()
        width, groups = in_channels, 1
        for one, kernel in zip(channels, kernels, strict=True):
            layers: list[nn.Module] = [
                nn.Conv1d(
                    width, experts * one, kernel, stride, kernel // 2, groups=groups,
                    bias=bias or not batch_norm,
                )
            ]  # fmt: skip
            layers += [nn.BatchNorm1d(experts * one)] if batch_norm else []
            self.stages.append(nn.Sequential(*layers, nn.ReLU()))
            width, groups = experts * one, experts

    def forward(self, x_BCL: Tensor, weight_BE: Tensor) -> Tensor:
        """Return the sum of the experts by their weights, [B, C, L]."""
        for stage in self.stages:
            x_BCL = stage(x_BCL)
            if 1 < self.pool <= x_BCL.shape[2]:  # a short spectrum may have nothing left to pool
                x_BCL = nn.functional.max_pool1d(x_BCL, self.pool)
        each_BECL = x_BCL.unflatten(1, (self.experts, -1))
        return torch.einsum("becl,be->bcl", each_BECL, weight_BE)


def best(logit_BE: Tensor, count: int) -> Tensor:
    """Return the softmax over the `count` largest of each row; zero for the others."""
    top, index = logit_BE.topk(count, dim=1)
    return torch.zeros_like(logit_BE).scatter(1, index, top.softmax(dim=1))


def imbalance(logit_BE: Tensor, weight_BE: Tensor) -> Tensor:
    """Return how unevenly the stars use the experts: 1 when evenly, E when all use one.

    The share of the choices that an expert gets times its mean probability (Fedus et al. 2022, arXiv
    2101.03961, equation 4), summed; the gradient goes through the probabilities.
    """
    chosen_E = (weight_BE > 0).to(logit_BE.dtype).mean(dim=0)
    share_E = chosen_E / chosen_E.sum().clamp(min=1e-12)
    return logit_BE.shape[1] * (share_E * logit_BE.softmax(dim=1).mean(dim=0)).sum()
