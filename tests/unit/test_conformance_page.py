"""The page of conformance vectors is what its tool writes, and no file of vectors is without a reader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "conformance.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_file_is_run_by_a_test() -> None:
    rows = [line for line in (ROOT / "docs" / "conformance.md").read_text().splitlines() if ".json`" in line]
    assert len(rows) == len(list((ROOT / "tests" / "vectors").glob("*/*.json")))
    assert [row for row in rows if not row.split("|")[4].strip()] == []
