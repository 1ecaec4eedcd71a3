"""Layers that several networks share do what plainer ones do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from models.parts.dead import biases_before_norm
from models.parts.experts import Experts, best, imbalance
from models.parts.pyramid import convolution
from models.parts.recurrent import OneStep, Reader
from models.parts.wavelet import DB4, LowPass

torch.set_num_threads(1)


def test_one_step_computes_what_an_lstm_does() -> None:
    torch.manual_seed(0)
    lstm = nn.LSTM(6, 4, 2, batch_first=True, bidirectional=True)
    ours = OneStep(6, 4, 2, dropout=0.0)
    with torch.no_grad():
        for number, layer in enumerate(ours.layers):
            halves = []
            for direction in ("", "_reverse"):
                name = f"l{number}{direction}"
                bias = getattr(lstm, f"bias_ih_{name}") + getattr(lstm, f"bias_hh_{name}")
                rows = torch.cat((getattr(lstm, f"weight_ih_{name}"), bias[:, None]), dim=1)
                halves.append(rows.chunk(4))  # input, forget, cell, output
            joined = [torch.cat((halves[0][gate], halves[1][gate])) for gate in (0, 2, 3)]
            layer.weight.copy_(torch.cat(joined)[:, :-1])
            layer.bias.copy_(torch.cat(joined)[:, -1])
        x_BD = torch.randn(5, 6)
        torch.testing.assert_close(ours(x_BD), lstm(x_BD[:, None])[0][:, 0])


def test_a_reader_takes_each_direction_where_it_has_read_everything() -> None:
    torch.manual_seed(0)
    reader = Reader(3, 4, 1, 0.0)
    x_BSD = torch.randn(2, 7, 3)
    changed_BSD = x_BSD.clone()
    changed_BSD[:, -1] += 1  # the last step is the first that the backward direction reads
    before_BD, after_BD = reader(x_BSD), reader(changed_BSD)
    assert not torch.isclose(before_BD, after_BD).any()
    last = Reader(3, 4, 1, 0.0, read="last")
    changed_BSD = x_BSD.clone()
    changed_BSD[:, 0] += 1
    assert torch.equal(last(x_BSD)[:, 4:], last(changed_BSD)[:, 4:]), "the defect that `ends` repairs"


@pytest.mark.parametrize("batch_norm", [False, True])
def test_experts_in_groups_compute_what_a_loop_over_stars_does(batch_norm: bool) -> None:
    torch.manual_seed(0)
    experts = Experts(2, (3, 4), (5, 3), 6, stride=2, batch_norm=batch_norm, pool=2).eval()
    x_BCL, logit_BE = torch.randn(4, 2, 60), torch.randn(4, 6)
    weight_BE = best(logit_BE, 2)
    assert ((weight_BE > 0).sum(1) == 2).all()
    torch.testing.assert_close(weight_BE.sum(1), torch.ones(4))

    def one(number: int, x_CL: Tensor) -> Tensor:
        for stage in experts.stages:
            conv, rows = stage[0], stage[0].out_channels // 6
            part = slice(number * rows, (number + 1) * rows)
            bias = None if conv.bias is None else conv.bias[part]
            x_CL = nn.functional.conv1d(x_CL, conv.weight[part], bias, stride=2, padding=conv.padding)
            if batch_norm:
                x_CL = x_CL / math.sqrt(1 + stage[1].eps)  # as it begins, in evaluation
            x_CL = nn.functional.max_pool1d(x_CL.relu(), 2)
        return x_CL

    wanted = [
        sum(weight_BE[star, e] * one(e, x_BCL[star : star + 1])[0] for e in logit_BE[star].topk(2).indices)
        for star in range(4)
    ]
    torch.testing.assert_close(experts(x_BCL, weight_BE), torch.stack(wanted), rtol=1e-4, atol=1e-5)


def test_imbalance_is_one_when_experts_are_used_evenly_and_their_number_when_one_is() -> None:
    even_BE = 50 * torch.eye(4)
    assert imbalance(even_BE, best(even_BE, 1)).item() == pytest.approx(1)
    one_BE = even_BE[:1].expand(8, 4)
    assert imbalance(one_BE, best(one_BE, 1)).item() == pytest.approx(4)


def test_the_wavelet_is_daubechies_with_four_vanishing_moments() -> None:
    taps = torch.tensor(DB4, dtype=torch.float64)
    assert taps.sum().item() == pytest.approx(math.sqrt(2), abs=1e-11)
    for shift in range(4):
        inner = (taps[: 8 - 2 * shift] * taps[2 * shift :]).sum().item()
        assert inner == pytest.approx(float(shift == 0), abs=1e-11)
    place = torch.arange(8, dtype=torch.float64)
    signs = (-1.0) ** place
    for power in range(4):
        assert (signs * place**power * taps).sum().item() == pytest.approx(0, abs=1e-8)


def test_low_pass_mirrors_the_ends_and_halves_the_length() -> None:
    assert LowPass(1)(torch.zeros(2, 4700)).shape == (2, 2353)
    assert LowPass(4)(torch.zeros(2, 4700)).shape == (2, 300)
    for length in (40, 41):
        x = torch.randn(length)
        mirrored = torch.cat((x.flip(0), x, x.flip(0)))
        wanted = [
            sum(DB4[7 - j] * mirrored[length + 2 * k + 1 - j] for j in range(8))
            for k in range((length + 7) // 2)
        ]
        torch.testing.assert_close(LowPass(1)(x[None])[0], torch.stack(wanted), rtol=1e-5, atol=1e-5)


def test_biases_before_norm_are_found_and_no_others() -> None:
    network = nn.Sequential(
        nn.Sequential(*convolution(1, 2, 3, batch_norm=True, bias=True), nn.ReLU()),
        nn.Sequential(*convolution(2, 2, 3, batch_norm=True)),
        nn.Conv1d(2, 2, 1),
    )
    assert biases_before_norm(network) == ("0.0.bias",)
