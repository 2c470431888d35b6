#!/usr/bin/env python3
"""Write the tables of docs/performance.md from the newest results in bench/results. Standard library only.

Examples:
  after a run of `make bench-hub` or `make soak`
    bench/performance.py
  whether the page is current: exit status 1 if not
    bench/performance.py --check
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path.insert(1, str(HERE / "load"))

from comparison.page import numbers, replaced  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = HERE.parent / "docs/performance.md"
RESULTS = HERE / "results"


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("--check", action="store_true", help="write nothing")
    options = reader.parse_args(arguments)
    before = PAGE.read_text()
    after = replaced(before, numbers(RESULTS))
    if options.check and before != after:
        sys.stderr.write(f"{PAGE} is not of the newest results; run bench/performance.py\n")
        return 1
    if before != after:
        PAGE.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
