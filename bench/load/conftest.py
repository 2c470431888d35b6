"""The tests import compare.py, soak.py and their parts as the programs do."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "micro")]
