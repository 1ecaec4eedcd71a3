"""Write a network that can be trained at once, to begin one's own from: a commented file and its conf.

Owns the two texts. Overwrites nothing; both files are written, or none.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from string import Template

from engine import catalog
from engine.errors import BadInput
from engine.words import say
from engine.workspace import Workspace

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NETWORK = '''"""$name: one line on what it is.   （一句话说明它是什么。）

Legend: B batch, L points of one spectrum, C channels, T labels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models import register_model


# The name that a conf writes in model.name.   配置文件里 model.name 写的名称。
@register_model("$name")
class $cls(nn.Module):
    """Two convolutions over both spectra, means over stretches, one hidden layer.

    What stands here is shown by `spectui models show $name` and in the app.

    Args:
        channels: channels of the second convolution.
        stretches: into how many stretches the spectrum is averaged.
        hidden: units of the hidden layer.
        dropout: share of the hidden units that a training step switches off.
    """

    # points (of one spectrum) and labels come from the data; name them only where you need them. Every other
    # parameter is a field of the conf: its type and default are read from here, its help from Args above.
    # points 与 labels 由数据给出，需要时才写；其余参数都是配置字段：
    # 类型与默认值取自这里，说明取自上面的 Args。
    def __init__(
        self,
        labels: int,
        channels: int = 32,
        stretches: int = 64,
        hidden: int = 64,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(2, channels // 2, 9, stride=4, padding=4),
            nn.ReLU(),
            nn.Conv1d(channels // 2, channels, 9, stride=2, padding=4),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(stretches),
        )
        self.head = nn.Sequential(
            nn.Linear(channels * stretches, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, labels),
        )

    # The names of the parameters say what the network takes: continuum, normalized, or stacked for both as
    # two channels [B, 2, L]. A suffix of capitals is for the reader. It gives the scaled labels [B, T].
    # 参数名决定网络读什么：continuum、normalized，或 stacked（两者作为两个通道）。
    # 返回缩放后的标签 [B, T]。
    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        both_B2L = torch.stack((continuum_BL, normalized_BL), dim=1)
        y_BT: Tensor = self.head(self.features(both_B2L).flatten(1))
        return y_BT
'''
_CONF = """# $name: train it with   spectui train $conf
# $name：训练命令   spectui train $conf
version: 1
name: $stem
description: $name, my own network
model:
  name: $name
  # The fields of its __init__.   __init__ 的参数。
  channels: 32
  stretches: 64
  hidden: 64
  dropout: 0.1
training:
  epochs: 30
  batch_size: 32
  learning_rate: 1e-3
  schedule: warmup_cosine
  patience: 8
"""


def write_new_model(workspace: Workspace, name: str) -> tuple[Path, Path]:
    """Write the file of a new network and its conf; return both.

    Raises:
        BadInput: the name is no name for a class, is taken, a file is there already, or cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(say("new_model.bad_name", name=name))
    for network in catalog.networks(workspace):
        if network.broken is None and network.name.lower() == name.lower():
            place = f"{workspace.relative(network.file)}:{network.line}"
            raise BadInput(say("new_model.taken", name=network.name, file=place))
    stem = snake(name)
    source, conf = workspace.networks / f"{stem}.py", workspace.conf / f"{stem}.yaml"
    for path in (source, conf):
        if path.exists():
            raise BadInput(say("new_model.there", file=workspace.relative(path)))
    words = {"name": name, "cls": name[0].upper() + name[1:], "stem": stem, "conf": workspace.relative(conf)}
    written: list[Path] = []
    try:
        for path, text in ((source, _NETWORK), (conf, _CONF)):
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            written.append(scratch)
            scratch.write_text(Template(text).substitute(words), encoding="utf-8")
            scratch.rename(path)
            written[-1] = path
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise BadInput(say("new_model.failed", file=error.filename, error=error.strerror)) from error
    return source, conf


def snake(name: str) -> str:
    """Return the name of a class as the name of a file: MyAwesomeNet is my_awesome_net."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return parted.lower()
