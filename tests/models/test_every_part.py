"""Every registered part runs, learns and has the published size; the assembler puts any of them together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import contract, registry
from models.errors import ContractError, UnknownModel
from models.parts.global_branches.frequency import ContinuumWaveletBranch
from models.parts.heads.recurrent import both_ends
from models.parts.local_branches.times_net import TimesNetBranch, WideKernels
from models.parts.sections import build_part

torch.set_num_threads(1)
LABELS = 4
READERS = ("backbone", "global_branch", "local_branch")
EVERY = [(kind, name) for kind in registry.KINDS if kind != "model" for name in registry.names(kind=kind)]
AFTER_A_BACKBONE = {"GlobalBranch": 64, "InceptionBranch": 64}
"""Parts that read channels and not a spectrum."""
SMALL: dict[str, dict[str, Any]] = {"TimesNetBranch": {"channels": 4, "hidden": 4}}
"""Fields that make costly parts small enough to run at full length."""


def made(kind: str, name: str, length: int, **fields: Any) -> tuple[nn.Module, list[tuple[int, int]]]:
    """Return a part and the shapes [C, L] that it takes."""
    torch.manual_seed(0)
    if kind == "norm":
        return registry.get(name, kind)(12), [(12, length)]
    if kind == "fusion":
        shapes = [(128, max(1, length // 8)), (64, max(1, length // 4))]
        given = {f"{side}_{what}": number for side, shape in zip(("local", "global"), shapes, strict=True)
                 for what, number in zip(("channels", "length"), shape, strict=True)}  # fmt: skip
    else:
        channels = 64 if kind == "head" else AFTER_A_BACKBONE.get(name, 1)
        shapes = [(channels, length // 8 if kind == "head" else length)]
        given = {"in_channels": channels, "in_length": shapes[0][1], "labels": LABELS}
    return build_part(kind, {"name": name, **fields}, **given), shapes


def run(part: nn.Module, kind: str, shapes: list[tuple[int, int]], stars: int) -> Tensor:
    y = part(*[torch.rand(stars, *shape) + 0.5 for shape in shapes])
    if kind == "head":
        assert y.shape == (stars, LABELS)
    else:
        assert y.dim() == 3 and y.shape[0] == stars
    assert torch.isfinite(y).all()
    return y


def check_learning(kind: str, name: str, length: int) -> None:
    part, shapes = made(kind, name, length, **SMALL.get(name, {}))
    if not list(part.parameters()):
        run(part, kind, shapes, 2)
        return
    run(part, kind, shapes, 2).square().mean().backward()
    for key, parameter in part.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), key
    # In eval mode a bias before a norm over the batch counts too, and nothing is dropped.
    part.eval()
    part.zero_grad()
    run(part, kind, shapes, 1)  # of one star
    run(part, kind, shapes, 3).square().mean().backward()
    dead = [key for key, p in part.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not dead


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_part_learns(kind: str, name: str) -> None:
    check_learning(kind, name, 256)


@pytest.mark.slow
@pytest.mark.parametrize("length", [2000, 4700])
@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_part_learns_at_full_length(kind: str, name: str, length: int) -> None:
    check_learning(kind, name, length)


@pytest.mark.parametrize("length", [2000, 4700])
@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_part_runs_at_full_length(kind: str, name: str, length: int) -> None:
    part, shapes = made(kind, name, length, **SMALL.get(name, {}))
    with torch.no_grad():
        y = run(part.eval(), kind, shapes, 1)
    if (kind, name, length) in OUT:
        assert tuple(y.shape[1:]) == OUT[kind, name, length]


OUT = {
    ("backbone", "ResNet50Backbone1D", 4700): (32, 147),
    ("backbone", "ResInceptionBackbone", 4700): (128, 294),
    ("backbone", "MultiLayerInceptionBackbone", 4700): (16, 1175),
    ("backbone", "DilatedCNNBackbone", 4700): (64, 4700),
    ("backbone", "Inception1DBackbone", 4700): (480, 1175),
    ("backbone", "PyramidCNNBackbone", 4700): (512, 294),
    ("backbone", "HybridTransformerBackbone", 4700): (256, 588),
    ("global_branch", "GlobalBranch", 4700): (64, 2350),
    ("global_branch", "GlobalAttentionBranch", 4700): (8, 1174),
    ("global_branch", "CnnTransformerBranch", 4700): (64, 1175),
    ("global_branch", "ContinuumWaveletBranch", 4700): (48, 295),
    ("global_branch", "CustomAttentiveBranch", 4700): (16, 293),
    ("global_branch", "DlinearBranch", 4700): (1, 128), ("global_branch", "MicnBranch", 4700): (64, 4700),
    ("global_branch", "LargeKernelBranch", 4700): (64, 1),
    ("local_branch", "InceptionBranch", 4700): (128, 2350),
    ("local_branch", "NormalizedSpectrumBranch", 4700): (48, 587),
    ("local_branch", "MultiScalePyramidBranch", 4700): (16, 293),
    ("local_branch", "MultiScaleConvBranch", 4700): (32, 4700),
    ("local_branch", "PatchTstBranch", 4700): (128, 587),
    ("local_branch", "UpsampleMultiScaleBranch", 4700): (192, 1175),
    ("local_branch", "PyramidFeatureExtractor", 4700): (192, 1),
    ("local_branch", "AbsorptionBranch", 4700): (64, 1),
}  # fmt: skip
"""Published shapes, the real ones where the published declaration is wrong."""

FAITHFUL, NO_NORM = {"layout": "faithful"}, {"norm": "none"}
COUNTS: list[tuple[str, str, dict[str, Any], int]] = [
    ("backbone", "ResNet50Backbone1D", {}, 63_696), ("backbone", "ResNet50Backbone1D", NO_NORM, 60_784),
    ("backbone", "ResInceptionBackbone", {}, 597_960), ("backbone", "ResInceptionBackbone", NO_NORM, 590_872),
    ("backbone", "MultiLayerInceptionBackbone", FAITHFUL, 9_008),
    ("backbone", "MultiLayerInceptionBackbone", {**FAITHFUL, "gate": True}, 9_008 + 148),
    ("backbone", "MultiLayerInceptionBackbone", {}, 9_328),
    ("backbone", "DilatedCNNBackbone", {}, 221_824), ("backbone", "DilatedCNNBackbone", NO_NORM, 220_800),
    ("backbone", "Inception1DBackbone", {}, 235_600), ("backbone", "Inception1DBackbone", NO_NORM, 233_456),
    ("backbone", "PyramidCNNBackbone", {}, 3_794_240), ("backbone", "PyramidCNNBackbone", NO_NORM, 3_785_152),
    ("backbone", "HybridTransformerBackbone", {}, 2_233_088),
    ("backbone", "HybridTransformerBackbone", NO_NORM, 2_232_192),
    ("global_branch", "GlobalBranch", {}, 66_560),
    ("global_branch", "GlobalAttentionBranch", {}, 5_008),
    ("global_branch", "CnnTransformerBranch", {}, 110_848),
    ("global_branch", "ContinuumWaveletBranch", {}, 7_344),
    ("global_branch", "CustomAttentiveBranch", {}, 296_224),
    ("global_branch", "DlinearBranch", {}, 1_203_456),
    ("global_branch", "MicnBranch", {}, 353_408), ("global_branch", "LargeKernelBranch", {}, 12_416),
    ("local_branch", "InceptionBranch", {}, 176_000),
    ("local_branch", "NormalizedSpectrumBranch", {}, 103_884),
    ("local_branch", "NormalizedSpectrumBranch", NO_NORM, 103_468),
    ("local_branch", "MultiScalePyramidBranch", {}, 92_864),
    ("local_branch", "MultiScalePyramidBranch", NO_NORM, 92_576),
    ("local_branch", "MultiScaleConvBranch", {}, 12_624), ("local_branch", "PatchTstBranch", {}, 399_744),
    ("local_branch", "TimesNetBranch", {}, 4_687_616),
    ("local_branch", "UpsampleMultiScaleBranch", {}, 184_084),
    ("local_branch", "PyramidFeatureExtractor", {}, 208_928),
    ("local_branch", "AbsorptionBranch", {}, 51_468),
    ("fusion", "add", {}, 12_416), ("fusion", "concat", {}, 20_672),
    ("fusion", "cross_attention", {}, 29_056),
    ("fusion", "FilmFusion", FAITHFUL, 2_220_928), ("fusion", "GruFusion", {}, 354_176),
]  # fmt: skip
HEADS: list[tuple[str, tuple[int, int], dict[str, Any], int]] = [
    ("MultiTaskHead", (64, 600), {}, 5_225_300), ("MultiTaskHead", (128, 128), {}, 1_426_708),
    ("SimpleFFNMultiTaskHead", (64, 9), {}, 33_796), ("LstmFfnHead", (64, 9), {}, 83_972),
    ("LstmFfnHead_old", (128, 9), {}, 664_484), ("DecoderHead", (64, 9), {}, 823_297),
    ("DecoderHead", (128, 9), {}, 856_065), ("GlobalProjectionHead", (64, 9), {}, 50_052),
    ("GlobalProjectionHead", (128, 9), {}, 66_436), ("LSTMHead", (128, 9), {}, 824_324),
    ("FFNHead", (384, 1), {}, 363_652), ("FFNHead", (384, 1), {"separate": True}, 1_453_060),
    ("AttentionExpertHead", (128, 9), {}, 49_797),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "fields", "count"), COUNTS)
def test_parts_have_the_published_size(kind: str, name: str, fields: dict[str, Any], count: int) -> None:
    part, _ = made(kind, name, 4700, **fields)
    assert contract.count_parameters(part) == count


@pytest.mark.parametrize(("name", "shape", "fields", "count"), HEADS)
def test_heads_have_the_published_size(
    name: str, shape: tuple[int, int], fields: dict[str, Any], count: int
) -> None:
    head = build_part("head", {"name": name, **fields}, in_channels=shape[0], in_length=shape[1], labels=4)
    assert contract.count_parameters(head) == count


SIMPLE = {"head": "SimpleFFNMultiTaskHead"}
FILM = {"name": "FilmFusion", **FAITHFUL}
BARE = {"backbone": None, "head": "DecoderHead"}
TOTALS: list[tuple[int, dict[str, Any], int]] = [
    (4800, {}, 5_519_140),
    (4800, {"backbone": "DilatedCNNBackbone", **SIMPLE}, 510_596),
    (4800, {"backbone": "Inception1DBackbone", **SIMPLE}, 1_592_660),
    (4800, {"backbone": "PyramidCNNBackbone", "global_branch": None, **SIMPLE}, 4_230_468),
    (4800, {"backbone": "HybridTransformerBackbone", **SIMPLE}, 2_842_884),
    (4800, {"backbone": {"name": "MultiLayerInceptionBackbone", **FAITHFUL}}, 5_455_108),
    (4800, {"backbone": "ResInceptionBackbone"}, 6_152_476),
    (4800, {"backbone": "AdjusterBackbone", "norm": "none"}, 5_479_284),
    (4800, {"fusion": "concat"}, 1_660_772),
    (4800, {"fusion": FILM}, 3_929_060),
    (4800, {"fusion": "GruFusion"}, 2_062_308),
    (4800, {"head": "LstmFfnHead"}, 377_812),
    (4800, SIMPLE, 327_636),
    (3721, {"backbone": None, "global_branch": "MicnBranch", "local_branch": "PatchTstBranch", "fusion": FILM,
            "head": "GlobalProjectionHead"}, 3_040_516),
    (3721, {**BARE, "global_branch": "CnnTransformerBranch", "local_branch": "PatchTstBranch",
            "fusion": "GruFusion"}, 1_720_833),
    (4800, {**BARE, "global_branch": "GlobalAttentionBranch",
            "local_branch": "MultiScaleConvBranch"}, 843_617),
    (4800, {**BARE, "global_branch": None, "local_branch": "MultiScaleConvBranch", "fusion": None}, 819_537),
    (4800, {**BARE, "global_branch": "GlobalAttentionBranch", "local_branch": None, "fusion": None}, 799_633),
]  # fmt: skip


@pytest.mark.parametrize(("points", "fields", "count"), TOTALS)
def test_assembled_networks_have_the_published_size(points: int, fields: dict[str, Any], count: int) -> None:
    network = registry.build("DualBranchSpectralModel", points=points, labels=4, fields=fields)
    assert contract.count_parameters(network) == count


@pytest.mark.parametrize("spectra", ["own", "normalized", "continuum", "stacked"])
@pytest.mark.parametrize("backbone", ["ResNet50Backbone1D", None])
def test_each_branch_sees_the_spectrum_that_the_conf_says(spectra: str, backbone: str | None) -> None:
    torch.manual_seed(0)
    fields = {"backbone": backbone, "global_branch": "CnnTransformerBranch", "local_branch": "ConvBranch",
              "spectra": spectra, **SIMPLE}  # fmt: skip
    network = registry.build("DualBranchSpectralModel", points=256, labels=3, fields=fields).eval()
    flux = [torch.rand(2, 256, requires_grad=True) for _ in range(2)]
    y_BT = contract.check_output(network(*flux), 2, 3)
    y_BT.sum().backward()
    seen = [one.grad is not None and bool(one.grad.abs().sum() > 0) for one in flux]
    assert seen == [spectra != "normalized", spectra != "continuum"]
    with torch.no_grad():
        torch.testing.assert_close(network(flux[0][:1], flux[1][:1]), y_BT[:1], rtol=1e-4, atol=1e-5)


def test_the_own_spectra_of_the_branches_are_not_mixed_up() -> None:
    fields = {
        "backbone": None,
        "global_branch": "CnnTransformerBranch",
        "local_branch": "ConvBranch",
        **SIMPLE,
    }
    network = registry.build("DualBranchSpectralModel", points=64, labels=2, fields=fields)
    seen: dict[str, Tensor] = {}
    for name in ("global_branch", "local_branch"):
        branch = getattr(network, name)
        branch.register_forward_pre_hook(lambda _, args, name=name: seen.__setitem__(name, args[0]))
    network(torch.zeros(2, 64), torch.ones(2, 64))
    assert (seen["global_branch"] == 0).all() and (seen["local_branch"] == 1).all()


@pytest.mark.parametrize("branch", ["global_branch", "local_branch"])
def test_one_branch_alone_reads_its_own_spectrum(branch: str) -> None:
    fields = {"backbone": None, branch: None, "fusion": None, **SIMPLE}
    fields |= {"global_branch": "CnnTransformerBranch"} if branch == "local_branch" else {}
    network = registry.build("DualBranchSpectralModel", points=64, labels=2, fields=fields).eval()
    zeros, ones = torch.zeros(1, 64), torch.ones(1, 64)
    ours = (zeros, ones) if branch == "global_branch" else (ones, zeros)
    assert not torch.equal(network(*ours), network(zeros, zeros))
    torch.testing.assert_close(network(*ours), network(ones, ones))


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"head": {"hidden": [3]}}, ContractError, "the head needs a name"),
        ({"head": "MultiTaskHed"}, UnknownModel, "unknown head 'MultiTaskHed'; did you mean 'MultiTaskHead'"),
        ({"fusion": {"name": "add", "width": 3}}, ContractError, "unknown field 'width'; it takes: channels"),
        ({"local_branch": {"name": "ConvBranch", "in_length": 3}}, ContractError, "set by the data"),
        ({"norm": "batsh"}, UnknownModel, "unknown norm 'batsh'; did you mean 'batch'"),
        ({"global_branch": None, "local_branch": None}, ContractError, "a global_branch or a local_branch"),
        ({"backbone": None}, ContractError, "8 heads do not divide the 1 channels"),
        ({"fusion": {"name": "add", "length": 3}}, ContractError, "3 positions are too few for 2 poolings"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_explained(fields: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        registry.build("DualBranchSpectralModel", points=256, labels=2, fields=fields)


def test_the_norm_of_all_parts_is_not_that_of_a_part_that_says_its_own() -> None:
    fields = {"norm": "none", "dropout": 0.5, "local_branch": {"name": "ConvBranch", "norm": "group"}}
    network = registry.build("DualBranchSpectralModel", points=256, labels=2, fields=fields)
    kinds = {type(module).__name__ for module in network.local_branch.modules()}
    assert "GroupNorm" in kinds and "NoNorm" not in kinds
    assert not any(isinstance(module, nn.BatchNorm1d) for module in network.modules())
    assert {module.p for module in network.modules() if isinstance(module, nn.Dropout)} == {0.5}


# -- formulas -----------------------------------------------------------------------------------------------


def test_the_smooth_part_of_a_wavelet_transform_is_right() -> None:
    branch = ContinuumWaveletBranch(1)
    ramp_BCL = torch.arange(64.0)[None, None]
    smooth_BCL = branch._smoothed(ramp_BCL)
    assert smooth_BCL.shape == (1, 1, (64 + 7) // 2)
    # A straight line stays one away from the ends: its slope doubles, and it is sqrt(2) times as high.
    slopes = smooth_BCL[0, 0, 6:-6].diff()
    torch.testing.assert_close(slopes, torch.full_like(slopes, 2 * 2**0.5), rtol=1e-4, atol=1e-4)
    flat_BCL = branch._smoothed(torch.full((1, 1, 9), 3.0))
    torch.testing.assert_close(flat_BCL, torch.full((1, 1, 8), 3 * 2**0.5))
    low_K = branch.low_11K.flatten()
    for shift in (2, 4, 6):  # orthogonal to its own even shifts
        assert abs(float((low_K[shift:] * low_K[:-shift]).sum())) < 1e-6


def test_wide_kernels_are_the_mean_of_convolutions() -> None:
    torch.manual_seed(0)
    wide = WideKernels(3, 2, (1, 3, 5))
    for bias in wide.biases:
        nn.init.normal_(bias)
    x_BCRP = torch.rand(2, 3, 6, 7)
    each = [nn.functional.conv2d(x_BCRP, weight, bias, padding=weight.shape[-1] // 2)
            for weight, bias in zip(wide.weights, wide.biases, strict=True)]  # fmt: skip
    torch.testing.assert_close(wide(x_BCRP), torch.stack(each).mean(dim=0), rtol=1e-4, atol=1e-5)


def test_a_star_does_not_depend_on_who_is_beside_it() -> None:
    torch.manual_seed(0)
    branch = TimesNetBranch(1, 128, channels=4, hidden=4)
    branch(torch.rand(4, 1, 128))  # a training step: periods are remembered
    branch.eval()
    x_BCL = torch.rand(3, 1, 128)
    torch.testing.assert_close(branch(x_BCL)[:1], branch(x_BCL[:1]), rtol=1e-4, atol=1e-5)


def test_both_directions_of_a_recurrent_head_have_read_everything() -> None:
    read_BLD = torch.arange(12.0).reshape(1, 3, 4)
    assert both_ends(read_BLD).tolist() == [[8, 9, 2, 3]]
