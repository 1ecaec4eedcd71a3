"""FreqInceptionLNet: the continuum seen in frequency, the normalized spectrum seen at several widths.

Legend: B batch, L points of one branch, F = L//2 + 1 frequencies, C channels, K kernel sizes, D features,
T labels.
The constants in capitals are the published sizes; a conf overrides single keys of them.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

import torch
from torch import Tensor, nn

from models import register_model
from models.parts.attention import SqueezeExcite
from models.parts.norms import ChannelNorm


class NormalizationSettings(TypedDict, total=False):
    norm_type: Literal["ln", "bn"]
    """ln: over the channels of each position (layer norm); bn: over the batch"""
    layer_norm_eps: float
    """added to the variance of the layer norm"""
    layer_norm_elementwise_affine: bool
    """whether the layer norm learns a scale and a shift"""


class ConvLayer(TypedDict):
    out_channels: int
    kernel_size: int
    stride: NotRequired[int]
    """1 when not given"""
    padding: NotRequired[int]
    """half the kernel when not given"""


class FrequencyBranch(TypedDict, total=False):
    conv_layers: list[ConvLayer]
    """the convolutions over the frequencies, first to last"""
    mlp_output_dim: int
    """features that the branch gives to the fusion"""
    dropout: float


class InceptionBlock(TypedDict):
    out_channels_per_path: dict[int, int]
    """kernel size: channels, one entry per parallel path"""
    channel_attention_reduction: NotRequired[int]
    """how much narrower the bottleneck of the channel attention is; 16 when not given"""
    use_pooling: NotRequired[bool]
    """whether a max pooling follows; yes when not given"""
    pool_size: NotRequired[int]
    """2 when not given"""


class InceptionBranch(TypedDict, total=False):
    blocks: list[InceptionBlock]
    """the blocks over the normalized spectrum, first to last"""


class FusionModule(TypedDict, total=False):
    dropout: float


class SequenceModule(TypedDict, total=False):
    lstm_hidden_dim: int
    """units per direction"""
    lstm_layers: int
    lstm_dropout: float
    """between the layers of the LSTM"""


class PredictionHead(TypedDict, total=False):
    hidden_dims: list[int]
    """units of the hidden layers, first to last"""
    dropout: float


NORMALIZATION: NormalizationSettings = {
    "norm_type": "ln",
    "layer_norm_eps": 1e-5,
    "layer_norm_elementwise_affine": True,
}
FREQUENCY: FrequencyBranch = {
    "conv_layers": [
        {"out_channels": 16, "kernel_size": 7, "stride": 2, "padding": 3},
        {"out_channels": 32, "kernel_size": 5, "stride": 2, "padding": 2},
        {"out_channels": 64, "kernel_size": 3, "stride": 2, "padding": 1},
    ],
    "mlp_output_dim": 256,
    "dropout": 0.2,
}
INCEPTION: InceptionBranch = {
    "blocks": [
        {"out_channels_per_path": {3: 16, 5: 16, 7: 16}, "channel_attention_reduction": 8},
        {"out_channels_per_path": {3: 32, 5: 32, 9: 32}},
        {"out_channels_per_path": {3: 64, 5: 64, 11: 64}},
        {"out_channels_per_path": {3: 96, 5: 96}, "use_pooling": False},
    ],
}
FUSION: FusionModule = {"dropout": 0.3}
SEQUENCE: SequenceModule = {"lstm_hidden_dim": 256, "lstm_layers": 2, "lstm_dropout": 0.2}
HEAD: PredictionHead = {"hidden_dims": [512, 256], "dropout": 0.3}


@register_model("FreqInceptionLNet")
class FreqInceptionLNet(nn.Module):
    """A Fourier branch and an inception branch, joined, through a bidirectional LSTM to the labels.

    The continuum goes through an FFT and three convolutions over the frequencies; the normalized spectrum
    through four blocks of parallel convolutions with channel attention. The LSTM reads a sequence of one
    step, as published: its recurrent matrices and forget gates (41 % of all parameters) get no gradient.

    Takes continuum and normalized spectrum, [B, L] each; gives [B, T]. 3,748,372 parameters with 4 labels,
    whatever the number of points.

    Args:
        normalization_settings: which normalisation follows the convolutions and the layers of the head.
        frequency_branch: sizes of the branch over the continuum.
        inception_branch: sizes of the branch over the normalized spectrum.
        fusion_module: what happens where the branches meet.
        sequence_module: sizes of the LSTM.
        prediction_head: sizes of the last layers.
    """

    def __init__(
        self,
        labels: int,
        normalization_settings: NormalizationSettings | None = None,
        frequency_branch: FrequencyBranch | None = None,
        inception_branch: InceptionBranch | None = None,
        fusion_module: FusionModule | None = None,
        sequence_module: SequenceModule | None = None,
        prediction_head: PredictionHead | None = None,
    ) -> None:
        super().__init__()
        norm: NormalizationSettings = {**NORMALIZATION, **(normalization_settings or {})}
        frequency: FrequencyBranch = {**FREQUENCY, **(frequency_branch or {})}
        inception: InceptionBranch = {**INCEPTION, **(inception_branch or {})}
        fusion: FusionModule = {**FUSION, **(fusion_module or {})}
        sequence: SequenceModule = {**SEQUENCE, **(sequence_module or {})}
        head: PredictionHead = {**HEAD, **(prediction_head or {})}

        self.frequency = FrequencyEncoder(frequency, norm)
        self.inception = InceptionEncoder(inception, norm)
        self.fusion = nn.Dropout(fusion["dropout"])
        layers, width = sequence["lstm_layers"], sequence["lstm_hidden_dim"]
        self.sequence = nn.LSTM(
            frequency["mlp_output_dim"] + self.inception.features, width, layers, batch_first=True,
            bidirectional=True, dropout=sequence["lstm_dropout"] if layers > 1 else 0.0)
        self.head = _prediction_head(2 * width, labels, head, norm)

    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        joined_BD = torch.cat((self.frequency(continuum_BL), self.inception(normalized_BL)), dim=1)
        steps_B1D, _ = self.sequence(self.fusion(joined_BD)[:, None, :])
        y_BT: Tensor = self.head(steps_B1D[:, 0, :])
        return y_BT


class FrequencyEncoder(nn.Module):
    """Real and imaginary part of the spectrum's Fourier transform, through convolutions, to features."""

    def __init__(self, sizes: FrequencyBranch, norm: NormalizationSettings) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 2
        for conv in sizes["conv_layers"]:
            kernel, channels = conv["kernel_size"], conv["out_channels"]
            layers += [
                nn.Conv1d(width, channels, kernel, conv.get("stride", 1), conv.get("padding", kernel // 2)),
                _channel_norm(channels, norm), nn.ReLU()]
            width = channels
        self.convolutions = nn.Sequential(*layers)
        self.mlp = nn.Sequential(
            nn.Linear(width, sizes["mlp_output_dim"]), nn.ReLU(), nn.Dropout(sizes["dropout"]))

    def forward(self, continuum_BL: Tensor) -> Tensor:
        """Return the features [B, D]."""
        # Half-precision FFTs exist for powers of two only, and would lose the small frequencies.
        with torch.autocast(continuum_BL.device.type, enabled=False):
            wide_BL = continuum_BL if continuum_BL.dtype == torch.float64 else continuum_BL.float()
            spectrum_BF = torch.fft.rfft(wide_BL, norm="ortho")
            parts_B2F = torch.stack((spectrum_BF.real, spectrum_BF.imag), dim=1)
        y_BD: Tensor = self.mlp(self.convolutions(parts_B2F).mean(dim=2))
        return y_BD


class InceptionEncoder(nn.Module):
    """Blocks of parallel convolutions of several widths, each block followed by channel attention."""

    def __init__(self, sizes: InceptionBranch, norm: NormalizationSettings) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 1
        for block in sizes["blocks"]:
            paths = block["out_channels_per_path"]
            layers.append(ParallelPaths(width, paths, norm))
            width = sum(paths.values())
            layers.append(SqueezeExcite(width, block.get("channel_attention_reduction", 16)))
            if block.get("use_pooling", True):
                layers.append(nn.MaxPool1d(block.get("pool_size", 2)))
        self.blocks = nn.Sequential(*layers)
        self.features = width

    def forward(self, normalized_BL: Tensor) -> Tensor:
        """Return the features [B, D]."""
        y_BCL: Tensor = self.blocks(normalized_BL[:, None, :])
        return y_BCL.mean(dim=2)


class ParallelPaths(nn.Module):
    """One convolution per kernel size over the same input, their channels one after the other."""

    def __init__(self, in_channels: int, paths_K: dict[int, int], norm: NormalizationSettings) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            nn.Sequential(nn.Conv1d(in_channels, channels, kernel, padding="same"),
                          _channel_norm(channels, norm), nn.ReLU())
            for kernel, channels in paths_K.items())

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the joined channels, as many positions as came in."""
        return torch.cat([path(x_BCL) for path in self.paths], dim=1)


def _prediction_head(
    width: int, labels: int, sizes: PredictionHead, norm: NormalizationSettings
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for units in sizes["hidden_dims"]:
        layers += [nn.Linear(width, units), _feature_norm(units, norm), nn.ReLU()]
        layers.append(nn.Dropout(sizes["dropout"]))
        width = units
    return nn.Sequential(*layers, nn.Linear(width, labels))


def _channel_norm(channels: int, norm: NormalizationSettings) -> nn.Module:
    if norm["norm_type"] == "bn":
        return nn.BatchNorm1d(channels)
    return ChannelNorm(channels, norm["layer_norm_eps"], norm["layer_norm_elementwise_affine"])


def _feature_norm(features: int, norm: NormalizationSettings) -> nn.Module:
    if norm["norm_type"] == "bn":
        return nn.BatchNorm1d(features)
    return nn.LayerNorm(features, norm["layer_norm_eps"], norm["layer_norm_elementwise_affine"])
