"""A short sample of the soak: random keys over live data end without an exception."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def test_some_random_keys_do_no_harm(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "soak_keys.py"), "--keys", "80", "--seed", "6", "--megabytes", "1000"],
        env=os.environ | {"PYTHONPATH": str(HERE.parents[1]), "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "met    no exception" in done.stdout
    assert list(tmp_path.iterdir()) == [], "nothing is left in the scratch folder"
