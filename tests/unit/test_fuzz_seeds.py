"""The seeds of the fuzz targets are what their tool makes of the vectors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_seeds_are_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "fuzz_seeds.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
