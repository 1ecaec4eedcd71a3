"""FreqInceptionLNet against the plainest writing of the same layers, in one process, in turn.

    python tests/benchmarks/bench_networks.py [--points 4700] [--batch 16] [--rounds 7]

The plain one is what a paper's reader would write: Conv1d path by path, LayerNorm on a transposed tensor,
attention and pooling in the order of the drawing. Both have the same weights and see the same stars, on one
thread; a step is forward, backward and AdamW. Judged by the ratio of the medians of CPU time.

Wanted: equal outputs and gradients to 1e-5 before the first update, and at least 1.25x of the steps a second.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.spectral_prediction.freq_inception_l_net import FREQUENCY, INCEPTION, FreqInceptionLNet

LABELS = 4
WANTED = 1.25


class PlainNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class PlainBlock(nn.Module):
    def __init__(self, width: int, paths: dict[int, int]) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            nn.Sequential(nn.Conv1d(width, out, kernel, padding=kernel // 2), PlainNorm(out), nn.ReLU())
            for kernel, out in paths.items()
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([path(x) for path in self.paths], dim=1)


class PlainAttention(nn.Module):
    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        narrow = channels // reduction
        self.gate = nn.Sequential(
            nn.Linear(channels, narrow, bias=False), nn.ReLU(),
            nn.Linear(narrow, channels, bias=False), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean(2))[:, :, None]


class Plain(nn.Module):
    """FreqInceptionLNet as its description reads; takes the weights of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.frequency, self.inception = nn.Module(), nn.Module()
        layers: list[nn.Module] = []
        width = 2
        for conv in FREQUENCY["conv_layers"]:
            out, kernel = conv["out_channels"], conv["kernel_size"]
            layers += [nn.Conv1d(width, out, kernel, 2, kernel // 2), PlainNorm(out), nn.ReLU()]
            width = out
        self.frequency.convolutions = nn.Sequential(*layers)
        self.frequency.mlp = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.2))
        layers, width = [], 1
        for block in INCEPTION["blocks"]:
            paths = block["out_channels_per_path"]
            layers.append(PlainBlock(width, paths))
            width = sum(paths.values())
            layers.append(PlainAttention(width, block.get("channel_attention_reduction", 16)))
            layers += [nn.MaxPool1d(2)] if block.get("use_pooling", True) else []
        self.inception.blocks = nn.Sequential(*layers)
        self.fusion = nn.Dropout(0.3)
        self.sequence = nn.LSTM(448, 256, 2, batch_first=True, bidirectional=True, dropout=0.2)
        self.head = nn.Sequential(
            nn.Linear(512, 512), nn.LayerNorm(512), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(512, 256), nn.LayerNorm(256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, LABELS),
        )  # fmt: skip

    def forward(self, continuum: Tensor, normalized: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(continuum, norm="ortho")
        parts = torch.stack((spectrum.real, spectrum.imag), dim=1)
        first = self.frequency.mlp(self.frequency.convolutions(parts).mean(2))
        second = self.inception.blocks(normalized[:, None]).mean(2)
        steps, _ = self.sequence(self.fusion(torch.cat((first, second), 1))[:, None])
        y: Tensor = self.head(steps[:, 0])
        return y


def stepper(network: nn.Module, stars: tuple[Tensor, Tensor, Tensor]) -> Callable[[], float]:
    """Return what takes a step and tells its CPU seconds."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step() -> float:
        began = time.process_time()
        loss = (network(*stars[:2]) - stars[2]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return time.process_time() - began

    return step


def difference(
    ours: nn.Module, plain: nn.Module, stars: tuple[Tensor, Tensor, Tensor]
) -> tuple[float, float]:
    """Return the largest difference of outputs, and of gradients relative to the largest of them."""
    outputs = []
    for network in (ours, plain):
        network.eval()
        y = network(*stars[:2])
        (y - stars[2]).square().mean().backward()
        outputs.append(y.detach())
        network.train()
    theirs = dict(plain.named_parameters())
    pairs = [(p.grad, theirs[name].grad) for name, p in ours.named_parameters()]
    scale = max(float(g.abs().max()) for _, g in pairs if g is not None)
    most = max(float((a - b).abs().max()) for a, b in pairs if a is not None and b is not None)
    return float((outputs[0] - outputs[1]).abs().max()), most / scale


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=4700)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ours, plain = FreqInceptionLNet(labels=LABELS), Plain()
    plain.load_state_dict(ours.state_dict())
    stars = (*torch.randn(2, options.batch, options.points).unbind(), torch.randn(options.batch, LABELS))
    apart, gradients = difference(ours, plain, stars)
    steps = {"plain": stepper(plain, stars), "ours": stepper(ours, stars)}
    took: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(options.rounds + 1):
        for name, step in steps.items():
            seconds = step()
            if number:  # the round before the first warms up
                took[name].append(seconds)
    print(f"steps of {options.batch} stars x {options.points} points, {options.rounds} rounds, one thread")
    for name, seconds_R in took.items():
        middle, least, most = statistics.median(seconds_R), min(seconds_R), max(seconds_R)
        print(f"  {name:<6} {1e3 * middle:,.0f} ms CPU ({1e3 * least:,.0f} to {1e3 * most:,.0f})")
    ratio = statistics.median(took["plain"]) / statistics.median(took["ours"])
    least = min(took["plain"]) / min(took["ours"])
    bars = {
        f"ours is {ratio:.2f}x as fast ({least:.2f}x by minima) >= {WANTED}x": ratio >= WANTED,
        f"outputs differ by {apart:.1e} <= 1e-5": apart <= 1e-5,
        f"gradients differ by {gradients:.1e} of the largest <= 1e-5": gradients <= 1e-5,
    }  # fmt: skip
    for text, good in bars.items():
        print(("ok   " if good else "MISS ") + text)
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
