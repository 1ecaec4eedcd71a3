"""StarNet: the small convolutional network that the field compares with.

Legend: B batch, L points of one branch, T labels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models import register_model
from models.parts.sigmas import Labels, LabelsAndSigmas


@register_model("StarNet")
class StarNet(nn.Module):
    """Two convolutions, one pooling and two hidden layers (Fabbro et al. 2018, arXiv 1709.09182).

    Built for APOGEE and trained there with Adam at 7e-4 and batches of 64; poor with fewer than about a
    thousand stars. Takes the normalized spectrum [B, L]; gives [B, T]. 4,830,648 parameters at 4700
    points and 4 labels.

    Args:
        filters: channels of the convolutions.
        kernel: points that each convolution sees.
        pool: points that the pooling joins into one.
        hidden: units of the hidden layers.
        sigmas: give an uncertainty with each label, for the loss gaussian_nll.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        filters: Sequence[int] = (4, 16),
        kernel: int = 8,
        pool: int = 4,
        hidden: Sequence[int] = (256, 128),
        sigmas: bool = False,
    ) -> None:
        super().__init__()
        length = (points - len(filters) * (kernel - 1)) // pool
        if length < 1:
            layers_text = f"{len(filters)} kernels of {kernel}, pooled by {pool}"
            raise ValueError(f"{points} points are too few for {layers_text}")
        layers: list[nn.Module] = []
        width = 1
        for channels in filters:
            layers += [nn.Conv1d(width, channels, kernel), nn.ReLU()]
            width = channels
        self.features = nn.Sequential(*layers, nn.MaxPool1d(pool), nn.Flatten())
        layers, width = [], width * length
        for units in hidden:
            layers += [nn.Linear(width, units), nn.ReLU()]
            width = units
        last = LabelsAndSigmas(width, labels) if sigmas else nn.Linear(width, labels)
        self.head = nn.Sequential(*layers, last)
        self.apply(_he_normal)
        for linear in last.modules():
            if isinstance(linear, nn.Linear):
                nn.init.kaiming_normal_(linear.weight, nonlinearity="linear")  # no ReLU follows it

    def forward(self, normalized_BL: Tensor) -> Labels:
        """Return the scaled labels [B, T], with `sigmas` and the logarithm of their sigmas [B, T]."""
        y_BT: Labels = self.head(self.features(normalized_BL[:, None, :]))
        return y_BT


def _he_normal(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
