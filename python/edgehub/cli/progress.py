"""How far a long command is."""

from __future__ import annotations

import sys


class Progress:
    """A count on standard error, if that is a terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._written = False

    def tell(self, messages: int) -> None:
        """Shows how far the run is."""
        if self._shown:
            self._written = True
            sys.stderr.write(f"\r{messages:,} messages ")
            sys.stderr.flush()

    def clear(self) -> None:
        """Makes room for other output."""
        if self._written:
            self._written = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
