"""One test over every registered network, and the published parameter counts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models import contract, registry

POINTS, LABELS = 256, 4
torch.set_num_threads(1)


def built(name: str, **fields: object) -> nn.Module:
    torch.manual_seed(0)
    network = registry.build(name, points=POINTS, labels=LABELS, fields=fields)
    return contract.materialise(network, POINTS, LABELS, name=name)


@pytest.mark.parametrize("name", registry.names())
def test_every_network_learns_from_a_small_batch(name: str) -> None:
    network = built(name)
    call = contract.adapter(network)
    continuum_BL, normalized_BL = torch.rand(3, POINTS) + 0.5, torch.rand(3, POINTS)

    y_BT = contract.check_output(call(continuum_BL, normalized_BL), 3, LABELS, name=name)
    loss = y_BT.square().mean()
    loss.backward()

    assert torch.isfinite(loss)
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(grad is not None and torch.isfinite(grad).all() for grad in gradients)
    assert any(grad.abs().sum() > 0 for grad in gradients if grad is not None)

    network.eval()
    with torch.no_grad():
        alone = contract.check_output(call(continuum_BL[:1], normalized_BL[:1]), 1, LABELS)
        together = call(continuum_BL, normalized_BL)
    torch.testing.assert_close(alone, together[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", registry.names())
def test_every_network_survives_bfloat16_autocast(name: str) -> None:
    network = built(name).eval()
    call = contract.adapter(network)
    continuum_BL, normalized_BL = torch.rand(2, POINTS), torch.rand(2, POINTS)
    with torch.no_grad():
        wide = call(continuum_BL, normalized_BL)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = call(continuum_BL, normalized_BL)
    torch.testing.assert_close(half.float(), wide, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("name", registry.names())
def test_every_network_documents_itself(name: str) -> None:
    summary = (registry.get(name).__doc__ or "").partition("\n")[0]
    assert summary.endswith(".") and len(summary) > 20


def counted(name: str, **fields: object) -> tuple[int, dict[str, int]]:
    network = registry.build(name, points=4700, labels=4, fields=fields)
    return contract.count_parameters(network), contract.count_parts(network)


def test_freq_inception_l_net_has_the_published_size() -> None:
    total, parts = counted("FreqInceptionLNet")
    assert total == 3_748_372
    assert parts == {"frequency": 25_904, "inception": 303_072, "sequence": 3_022_848, "head": 396_548}


def test_batch_norm_in_place_of_layer_norm_keeps_the_size() -> None:
    network = built("FreqInceptionLNet", normalization_settings={"norm_type": "bn"})
    assert contract.count_parameters(network) == 3_748_372
    assert any(isinstance(module, nn.BatchNorm1d) for module in network.modules())
    assert not any(isinstance(module, nn.LayerNorm) for module in network.modules())


def test_a_group_overrides_single_keys_of_the_published_sizes() -> None:
    network = built(
        "FreqInceptionLNet",
        frequency_branch={"dropout": 0.0},
        sequence_module={"lstm_layers": 1},
        prediction_head={"hidden_dims": [32]},
    )
    assert contract.count_parts(network)["frequency"] == 25_904
    assert contract.count_parts(network)["head"] == 512 * 32 + 32 + 64 + 32 * 4 + 4


def test_mlp_sizes() -> None:
    assert counted("MLP")[0] == 2_440_068
    assert counted("MLP", hidden=[2048, 1024, 512, 256])[0] == 22_008_580


def test_star_net_size() -> None:
    flat = 16 * ((4700 - 7 - 7) // 4)
    convolutions = (8 * 4 + 4) + (4 * 8 * 16 + 16)
    head = (flat * 256 + 256) + (256 * 128 + 128) + (128 * 4 + 4)
    assert counted("StarNet")[0] == convolutions + head == 4_830_648


def test_the_fourier_branch_works_in_float32_under_autocast() -> None:
    network = registry.build("FreqInceptionLNet", points=POINTS, labels=LABELS)
    seen: list[torch.dtype] = []
    network.frequency.convolutions[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        network.frequency(torch.rand(2, POINTS).bfloat16())
    assert seen == [torch.float32]
