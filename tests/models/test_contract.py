"""What networks may take, how they are built, and what is said when they do otherwise."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from models import contract, registry
from models.errors import ContractError, ModelError

torch.set_num_threads(1)
CONTINUUM, NORMALIZED = torch.full((2, 5), 1.0), torch.full((2, 5), 2.0)


class Both(nn.Module):
    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Tensor:
        return continuum_BL + 10 * normalized_BL


class Swapped(nn.Module):
    def forward(self, normalized: Tensor, continuum: Tensor) -> Tensor:
        return continuum + 10 * normalized


class One(nn.Module):
    def forward(self, normalized_BL: Tensor, scale: float = 1.0) -> Tensor:
        return normalized_BL * scale


class Stacked(nn.Module):
    def forward(self, stacked_B2L: Tensor) -> Tensor:
        return stacked_B2L


class Older(nn.Module):
    def forward(self, x_enc: Tensor, mask: Tensor | None = None) -> Tensor:
        return x_enc


class Inherits(Both):
    pass


@pytest.mark.parametrize(
    ("cls", "inputs"),
    [
        (Both, ("continuum", "normalized")),
        (Swapped, ("normalized", "continuum")),
        (One, ("normalized",)),
        (Stacked, ("stacked",)),
        (Older, ("concatenated",)),
        (Inherits, ("continuum", "normalized")),
    ],
)
def test_inputs_are_said_by_the_names_of_forward(cls: type, inputs: tuple[str, ...]) -> None:
    assert contract.inputs_of(cls) == inputs


def test_adapter_gives_each_network_its_form() -> None:
    assert (contract.adapter(Both())(CONTINUUM, NORMALIZED) == 21).all()
    assert (contract.adapter(Swapped())(CONTINUUM, NORMALIZED) == 21).all()
    assert (contract.adapter(One())(CONTINUUM, NORMALIZED) == 2).all()
    stacked = contract.adapter(Stacked())(CONTINUUM, NORMALIZED)
    assert stacked.shape == (2, 2, 5) and (stacked[:, 0] == 1).all()
    joined = contract.adapter(Older())(CONTINUUM, NORMALIZED)
    assert joined.shape == (2, 10) and (joined[:, 5:] == 2).all()


def test_adapter_sees_through_wrappers() -> None:
    assert (contract.adapter(nn.DataParallel(One()))(CONTINUUM, NORMALIZED) == 2).all()
    assert contract.unwrap(torch.compile(One(), backend="eager")).__class__ is One


def test_the_decorator_overrides_the_names() -> None:
    class Named(nn.Module):
        registered_inputs = ("continuum",)

        def forward(self, flux: Tensor) -> Tensor:
            return flux

    class Child(Named):
        def forward(self, normalized: Tensor) -> Tensor:
            return normalized

    assert contract.inputs_of(Named) == ("continuum",)
    assert contract.inputs_of(Child) == ("normalized",)
    Named.registered_inputs = ("flux",)
    with pytest.raises(ContractError, match="choose from continuum, normalized"):
        contract.inputs_of(Named)


def test_unclear_forward_is_refused() -> None:
    class Two(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a

    with pytest.raises(ContractError, match=r"forward takes \(a, b\)"):
        contract.inputs_of(Two)
    with pytest.raises(ContractError, match="no forward"):
        contract.inputs_of(nn.Module)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (torch.zeros(3, 5), r"\(3, 4\).*it gave \(3, 5\)"),
        (torch.zeros(3), "it gave"),
        ((torch.zeros(3, 4), 1), "or two of them; it gave a int"),
        ((torch.zeros(3, 4), torch.zeros(3, 5)), r"it gave \(3, 5\)"),
        ([torch.zeros(3, 4)], "a list"),
        (torch.zeros(3, 4, dtype=torch.int64), "int64"),
    ],
)
def test_outputs_are_checked(y: object, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        contract.check_output(y, 3, 4, name="Net")


def test_wrong_shape_carries_both_shapes() -> None:
    with pytest.raises(ContractError) as caught:
        contract.check_output(torch.zeros(3, 5), 3, 4, name="Net")
    assert (caught.value.name, caught.value.got, caught.value.wanted) == ("Net", (3, 5), (3, 4))


class Configured(nn.Module):
    def __init__(self, configs: SimpleNamespace) -> None:
        super().__init__()
        assert configs.seq_len == 2 * configs.feature_size and configs.task_name == "spectral_prediction"
        self.layer = nn.Linear(configs.seq_len, configs.label_size)
        self.width, self.d_model = configs.width, configs.d_model

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def test_older_networks_get_one_object() -> None:
    network = contract.construct(Configured, points=5, labels=3, fields={"width": 7, "d_model": 8})
    assert (network.width, network.d_model) == (7, 8)
    contract.materialise(network, 5, 3)


def test_older_network_asking_for_more_is_explained() -> None:
    with pytest.raises(ContractError, match="'width' from its configs"):
        contract.construct(Configured, points=5, labels=3, fields={})


def test_fields_are_checked_against_init() -> None:
    with pytest.raises(ContractError, match="did you mean 'dropout'") as caught:
        registry.build("MLP", points=5, labels=3, fields={"droput": 0.1})
    assert caught.value.near == ["dropout"] and caught.value.name == "MLP"
    with pytest.raises(ContractError, match="set by the data"):
        registry.build("MLP", points=5, labels=3, fields={"points": 4})
    with pytest.raises(ContractError, match="too few"):
        registry.build("StarNet", points=5, labels=3)
    with pytest.raises(ContractError, match="dropout probability"):
        registry.build("MLP", points=5, labels=3, fields={"dropout": 7.0})


def test_missing_and_extra_fields() -> None:
    class Needs(nn.Module):
        def __init__(self, labels: int, width: int, **others: int) -> None:
            super().__init__()
            self.given = (labels, width, others)

    with pytest.raises(ContractError, match="needs the field 'width'"):
        contract.construct(Needs, points=5, labels=3, fields={})
    made = contract.construct(Needs, points=5, labels=3, fields={"width": 1, "more": 2})
    assert made.given == (3, 1, {"more": 2, "points": 5})
    with pytest.raises(ContractError, match="unknown field 'width'; it takes: no fields"):
        contract.construct(Both, points=5, labels=3, fields={"width": 1})
    with pytest.raises(ModelError, match=r"not a torch\.nn\.Module"):
        contract.construct(dict, points=5, labels=3, fields={})  # type: ignore[arg-type]


class Lazy(nn.Module):
    def __init__(self, labels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.frozen = nn.Dropout(0.5).eval()
        self.layer = nn.LazyLinear(labels)

    def forward(self, stacked_B2L: Tensor) -> Tensor:
        return self.layer(self.norm(stacked_B2L).flatten(1))


def test_a_dry_run_materialises_lazy_layers_and_leaves_no_trace() -> None:
    network = contract.construct(Lazy, points=6, labels=3, fields={})
    contract.materialise(network, 6, 3)
    assert contract.count_parameters(network) == 4 + 12 * 3 + 3
    assert contract.count_parts(network) == {"norm": 4, "layer": 39}
    assert network.training and network.norm.training and not network.frozen.training
    assert int(network.norm.num_batches_tracked) == 0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_failing_dry_run_is_explained() -> None:
    with pytest.raises(ContractError, match="trial with two stars of 7 points failed: RuntimeError"):
        contract.materialise(registry.build("MLP", points=6, labels=3), 7)
    with pytest.raises(ContractError, match=r"it gave \(2, 6\)"):
        contract.materialise(Both(), 6, 3)


def test_a_network_may_give_sigmas_beside_its_labels() -> None:
    pair = (torch.zeros(3, 4), torch.zeros(3, 4))
    assert contract.check_output(pair, 3, 4) is pair[0]
    assert contract.gives_sigmas(registry.build("StarNet", points=64, labels=2, fields={"sigmas": True}), 64)
    assert not contract.gives_sigmas(registry.build("StarNet", points=64, labels=2), 64)
