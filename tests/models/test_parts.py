"""The shared layers do what their formulas say."""

from __future__ import annotations

import torch
from torch import nn

from models.parts.attention import SqueezeExcite
from models.parts.norms import ChannelNorm

torch.set_num_threads(1)


def test_channel_norm_equals_layer_norm_over_channels() -> None:
    torch.manual_seed(0)
    ours, theirs = ChannelNorm(12), nn.LayerNorm(12)
    with torch.no_grad():
        ours.weight.copy_(torch.rand(12) + 0.5)
        ours.bias.copy_(torch.randn(12))
        theirs.weight.copy_(ours.weight)
        theirs.bias.copy_(ours.bias)
    x_BCL = (torch.randn(3, 12, 50) * 7 + 100).requires_grad_()
    twin_BCL = x_BCL.detach().clone().requires_grad_()

    y_BCL, wanted_BCL = ours(x_BCL), theirs(twin_BCL.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(y_BCL, wanted_BCL, rtol=1e-5, atol=1e-5)

    upstream = torch.randn_like(y_BCL)
    y_BCL.backward(upstream)
    wanted_BCL.backward(upstream)
    torch.testing.assert_close(x_BCL.grad, twin_BCL.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-4)


def test_channel_norm_takes_statistics_in_float32() -> None:
    x_BCL = torch.randn(2, 8, 20).half() * 0.1 + 300  # squares of 300 overflow float16
    y_BCL = ChannelNorm(8)(x_BCL)
    assert y_BCL.dtype == torch.float16
    assert torch.isfinite(y_BCL).all()


def test_channel_norm_without_affine_has_no_parameters() -> None:
    assert list(ChannelNorm(4, affine=False).parameters()) == []


def test_squeeze_excite_never_has_an_empty_bottleneck() -> None:
    torch.manual_seed(0)
    layer = SqueezeExcite(8, reduction=16)
    assert sum(parameter.numel() for parameter in layer.parameters()) == 16
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.abs_()  # the one unit must not happen to be dead
    x_BCL = torch.rand(4, 8, 10) + 1
    gates_BCL = layer(x_BCL) / x_BCL
    assert gates_BCL.shape == x_BCL.shape
    assert gates_BCL.std() > 1e-3  # with no unit in between every gate would be one half
    assert sum(p.numel() for p in SqueezeExcite(48, 8).parameters()) == 2 * 48 * 6
