"""Small networks that go wrong in one way each: what a user might write, as files of a workspace."""

from __future__ import annotations

_HEAD = """\
import torch
from torch import nn

from models import register_model


@register_model("{name}")
class {name}(nn.Module):
    def __init__(self, points: int, labels: int, width: int = 16{fields}):
        super().__init__()
"""

_BODIES = {
    # twelve sigmoids in a row: next to nothing of the gradient reaches the stem
    "Vanishing": ("", """\
        self.stem = nn.Linear(points, width)
        self.deep = nn.Sequential(*[m for _ in range(12) for m in (nn.Linear(width, width), nn.Sigmoid())])
        self.head = nn.Linear(width, labels)

    def forward(self, normalized):
        return self.head(self.deep(self.stem(normalized)))
"""),
    # a part is multiplied with itself again and again: its gradient grows with the third power
    "Exploding": ("", """\
        self.stem = nn.Linear(points, width)
        self.deep = nn.Linear(width, width)
        self.head = nn.Linear(width, labels)

    def forward(self, normalized):
        x = torch.tanh(self.stem(normalized))
        for _ in range(4):
            x = self.deep(x)
        return self.head(x)
"""),
    "Bounded": ("", """\
        self.body = nn.Sequential(nn.Linear(2 * points, 64), nn.ReLU(), nn.Linear(64, labels), nn.Sigmoid())

    def forward(self, concatenated):
        return self.body(concatenated)
"""),
    "Keyhole": ("", """\
        self.body = nn.Linear(1, labels)

    def forward(self, normalized):
        return self.body(normalized[:, 30:31])
"""),
    # four Balmer lines tell something of Teff, and no more can be learned from them
    "Balmer": ("", """\
        self.body = nn.Linear(4, labels)

    def forward(self, normalized):
        return self.body(10.0 * (normalized[:, [7, 15, 32, 89]] - 0.9))
"""),
    "Leaky": ("", """\
        self.body = nn.Linear(points, labels)
        self.kept = []

    def forward(self, normalized):
        self.kept.append(torch.ones(700_000))
        return self.body(normalized)
"""),
    "HalfDead": ("", """\
        self.dead = nn.Sequential(nn.Linear(points, width), nn.ReLU(), nn.Linear(width, width))
        nn.init.constant_(self.dead[0].bias, -100.0)
        self.unused = nn.Linear(points, width)
        self.body = nn.Sequential(nn.Linear(points, width), nn.ReLU())
        self.head = nn.Linear(width, labels)

    def forward(self, normalized):
        return self.head(self.body(normalized) + 0.0 * self.dead[0](normalized).relu())
"""),
    "Breaks": (", after: int = 20, why: str = 'boom'", """\
        self.body, self.after, self.why, self.calls = nn.Linear(points, labels), after, why, 0

    def forward(self, normalized):
        self.calls += self.training
        if self.calls > self.after:
            raise RuntimeError(self.why)
        return self.body(normalized)
"""),
    "Deaf": ("", """\
        self.body = nn.Sequential(nn.Linear(points, width), nn.ReLU(), nn.Linear(width, labels))

    def forward(self, normalized):
        return self.body(torch.zeros_like(normalized))
"""),
    "BatchNet": (", norm: str = 'bn', norm_momentum: float = 0.1", """\
        norms = {
            "bn": lambda: nn.BatchNorm1d(width, momentum=norm_momentum), "ln": lambda: nn.LayerNorm(width)}
        self.body = nn.Sequential(
            nn.Linear(2 * points, width), norms[norm](), nn.ReLU(), nn.Linear(width, width), norms[norm](),
            nn.ReLU(), nn.Linear(width, labels))

    def forward(self, concatenated):
        return self.body(concatenated)
"""),
}  # fmt: skip

NETWORKS = {name: _HEAD.format(name=name, fields=fields) + body for name, (fields, body) in _BODIES.items()}
"""Name of the network to the text of its file."""
