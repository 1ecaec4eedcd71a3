"""Every network of ours in every layout: published sizes, shapes, gradients, threads, and the way to disk."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import contract, registry
from models.parts.dead import dead_parameters

torch.set_num_threads(1)
Fields = dict[str, Any]
FAITHFUL: Fields = {"layout": "faithful"}
CUSTOM_FUSION_V5: Fields = {
    "backbone": None, "global_branch": "ContinuumWaveletBranch", "local_branch": "NormalizedSpectrumBranch",
    "head": {"name": "MultiTaskHead", "convolutions": [128, 64]}, "norm": "none",
}  # fmt: skip
FLEXIBLE_FUSION: Fields = {
    "backbone": None, "global_branch": "CustomAttentiveBranch", "local_branch": "MultiScalePyramidBranch",
    "fusion": {"name": "add", "channels": 32, "length": 64},
    "head": {"name": "MultiTaskHead", "convolutions": [64, 32, 16], "hidden": [256, 128]},
}  # fmt: skip

SIZES: list[tuple[str, Fields, int]] = [
    # as published, with 4700 points and 4 labels
    ("FreqInceptionLNet", {}, 3_748_372),
    ("FreqInceptionNet", FAITHFUL, 3_753_074),
    ("FreqInceptionConvNet", {}, 4_845_292),
    ("FreqInceptionConvNet", {"head": "multi_head"}, 682_988),
    ("FreqInceptionConvNet", {"head": "probabilistic"}, 617_840),
    ("MLP", {"hidden": [2048, 1024, 512, 256]}, 22_008_580),
    ("MLP", {"hidden": [512]}, 4_815_364),
    ("MPBDNet", FAITHFUL, 12_055_476),
    ("TwoBranchTeffNet", FAITHFUL, 1_727_876),
    ("DualPyramidNet", FAITHFUL, 444_984),
    ("DualPyramidNet", {"version": "v2", **FAITHFUL}, 781_508),
    ("DualSpectralNet", FAITHFUL, 1_917_724),
    ("DualSpectralNet", {"version": "v2", **FAITHFUL}, 321_232),
    ("MSST", FAITHFUL, 1_060_868),
    ("DualBranchMoENet", FAITHFUL, 1_067_404),
    ("LargeKernelConvNet", FAITHFUL, 3_122_072),
    ("LargeKernelConvNet", {"spectra": "lines", **FAITHFUL}, 2_978_584),
    ("CustomFusionNet", {"version": "v1", **FAITHFUL}, 4_724_612),
    ("CustomFusionNet", {"version": "v2", **FAITHFUL}, 4_930_200),
    ("CustomFusionNet", {"version": "v3", **FAITHFUL}, 2_850_982),
    ("CustomFusionNet", {"version": "v4", **FAITHFUL}, 284_188),
    ("MPFiLM", FAITHFUL, 3_040_516),
    ("HybridFormer", {}, 1_720_833),
    ("AMFN", {}, 843_617),
    ("AMFN", {"branches": "lines"}, 819_537),
    ("AMFN", {"branches": "continuum"}, 799_633),
    ("DualBranchSpectralModel", CUSTOM_FUSION_V5, 20_129_312),
    ("DualBranchSpectralModel", FLEXIBLE_FUSION, 673_876),
    # the sums of the layers that papers describe
    ("StarNet", {}, 4_830_648),
    ("RRNet", {}, 2_609_212),
]

VARIANTS: list[tuple[str, Fields]] = [
    *[(name, {}) for name in registry.names()],
    ("FreqInceptionLNet", {"layout": "repaired"}),
    ("FreqInceptionLNet", {"normalization_settings": {"norm_type": "bn"}}),
    ("FreqInceptionNet", FAITHFUL),
    ("FreqInceptionConvNet", {"head": "multi_head", "batch_norm": True, "window": "none"}),
    ("FreqInceptionConvNet", {"head": "probabilistic", "balance": 0.0, "window": "hamming"}),
    ("MPBDNet", FAITHFUL),
    ("MPBDNet", {"batch_norm": False, "sigmas": True}),
    ("TwoBranchTeffNet", FAITHFUL),
    ("DualPyramidNet", FAITHFUL),
    ("DualPyramidNet", {"version": "v2"}),
    ("DualPyramidNet", {"version": "v2", **FAITHFUL}),
    ("DualSpectralNet", FAITHFUL),
    ("DualSpectralNet", {"version": "v2"}),
    ("DualSpectralNet", {"version": "v2", **FAITHFUL}),
    ("MSST", FAITHFUL),
    ("DualBranchMoENet", {"balance": 0.01, **FAITHFUL}),
    ("LargeKernelConvNet", FAITHFUL),
    ("LargeKernelConvNet", {"spectra": "lines"}),
    *[("CustomFusionNet", {"version": f"v{number}"}) for number in (1, 2, 3)],
    *[("CustomFusionNet", {"version": f"v{number}", **FAITHFUL}) for number in (1, 4)],
    ("RRNet", FAITHFUL),
    ("RRNet", {"sigmas": False}),
    ("MPFiLM", FAITHFUL),
    ("MPFiLM", {"controller": "local", "sigmas": True}),
    *[("AMFN", {"branches": branches}) for branches in ("continuum", "lines")],
]
ASSEMBLED = ("DualBranchSpectralModel", "MPFiLM", "HybridFormer", "AMFN")
"""Networks of parts with published counts: their convolutions keep biases that a norm takes away later on."""
GRID = [(points, labels) for points in (256, 2000, 3721, 4700, 4802) for labels in (1, 3, 4)]


def called(variant: tuple[str, Fields]) -> str:
    name, fields = variant
    return name + "".join(f"-{value}" for value in fields.values())


def built(name: str, fields: Fields, points: int, labels: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    network = registry.build(name, points=points, labels=labels, fields=fields)
    return contract.materialise(network, points, labels, name=name).double()


def stars(batch: int, points: int) -> tuple[Tensor, Tensor]:
    """Make up scaled spectra: a wavy continuum and noisy lines."""
    phase_B1 = torch.rand(batch, 1, dtype=torch.float64) * 6
    continuum_BL = torch.sin(torch.linspace(0, 9, points, dtype=torch.float64) + phase_B1)
    noise_BL = torch.randn(2, batch, points, dtype=torch.float64)
    return continuum_BL + 0.3 * noise_BL[0], noise_BL[1]


def outputs(given: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """Return what a network gave as one tensor, the sigmas after the labels."""
    return torch.cat(given, dim=1) if isinstance(given, tuple) else given


def gradients(network: nn.Module, points: int, labels: int) -> dict[str, float]:
    """Return the largest gradient of every parameter, relative to the largest of all, after one batch."""
    y_BD = outputs(contract.adapter(network)(*stars(5, points)))
    assert y_BD.shape in ((5, labels), (5, 2 * labels)) and torch.isfinite(y_BD).all()
    loss = (y_BD - torch.randn_like(y_BD)).square().mean()
    auxiliary = contract.take_auxiliary(network)
    if auxiliary is not None:
        loss = loss + auxiliary
    network.zero_grad()
    loss.backward()
    most = {n: 0.0 if p.grad is None else float(p.grad.abs().max()) for n, p in network.named_parameters()}
    scale = max(most.values())
    assert 0 < scale < float("inf")
    return {name: value / scale for name, value in most.items()}


def check_gradients(name: str, fields: Fields, points: int, labels: int) -> None:
    """Every parameter learns, but for those that the network says are dead: these never do."""
    idle: set[str] | None = None
    for seed in range(3):  # a unit behind a ReLU may be off for five stars by chance
        network = built(name, fields, points, labels, seed).train()
        still = {one for one, value in gradients(network, points, labels).items() if value < 1e-13}
        if name in ASSEMBLED:
            still = {one for one in still if not one.endswith(".bias")}
        idle = still if idle is None else idle & still
        if idle == dead_parameters(network):
            return
    assert idle == dead_parameters(network)


def check_modes(name: str, fields: Fields, points: int, labels: int) -> None:
    """A batch of two trains, one star alone is told as among others, and the weights say everything."""
    network = built(name, fields, points, labels)
    call = contract.adapter(network)
    continuum_BL, normalized_BL = stars(3, points)
    assert torch.isfinite(outputs(call(continuum_BL[:2], normalized_BL[:2]))).all()
    network.eval()
    with torch.no_grad():
        together_BD = outputs(call(continuum_BL, normalized_BL))
        alone_BD = outputs(call(continuum_BL[:1], normalized_BL[:1]))
        assert contract.take_auxiliary(network) is None
        torch.testing.assert_close(alone_BD, together_BD[:1], rtol=1e-9, atol=1e-9)
        torch.set_num_threads(2)
        try:
            other_BD = outputs(call(continuum_BL, normalized_BL))
        finally:
            torch.set_num_threads(1)
        torch.testing.assert_close(other_BD, together_BD, rtol=1e-9, atol=1e-9)

        file = io.BytesIO()
        torch.save(network.state_dict(), file)
        file.seek(0)
        twin = built(name, fields, points, labels, seed=1).eval()
        twin.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(outputs(contract.adapter(twin)(continuum_BL, normalized_BL)), together_BD)


@pytest.mark.parametrize(("name", "fields", "count"), SIZES, ids=[called(row[:2]) for row in SIZES])
def test_published_sizes(name: str, fields: Fields, count: int) -> None:
    with torch.device("meta" if name != "DualBranchSpectralModel" else "cpu"):  # it tries its parts
        network = registry.build(name, points=4700, labels=4, fields=fields)
    assert contract.count_parameters(network) == count


@pytest.mark.parametrize("variant", VARIANTS, ids=called)
def test_every_parameter_learns_or_is_said_to_be_dead(variant: tuple[str, Fields]) -> None:
    check_gradients(*variant, points=256, labels=3)


@pytest.mark.parametrize("variant", VARIANTS, ids=called)
def test_two_stars_train_and_one_is_told(variant: tuple[str, Fields]) -> None:
    check_modes(*variant, points=256, labels=4)


@pytest.mark.parametrize("variant", VARIANTS, ids=called)
def test_one_label(variant: tuple[str, Fields]) -> None:
    name, fields = variant
    network = built(name, fields, 256, 1).eval()
    y_BD = outputs(contract.adapter(network)(*stars(2, 256)))
    assert y_BD.shape in ((2, 1), (2, 2))


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.names())
@pytest.mark.parametrize(("points", "labels"), GRID)
def test_every_length_and_number_of_labels(name: str, points: int, labels: int) -> None:
    network = built(name, {}, points, labels).train()
    y_BD = outputs(contract.adapter(network)(*stars(2, points)))
    assert y_BD.shape in ((2, labels), (2, 2 * labels)) and torch.isfinite(y_BD).all()
    y_BD.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids=called)
@pytest.mark.parametrize(("points", "labels"), [(2000, 1), (3721, 4), (4802, 3)])
def test_long_spectra_in_every_layout(variant: tuple[str, Fields], points: int, labels: int) -> None:
    check_gradients(*variant, points, labels)
    check_modes(*variant, points, labels)
