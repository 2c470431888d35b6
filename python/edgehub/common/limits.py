"""Limits that the system sets to a process."""

from __future__ import annotations

import resource


def raise_file_limit() -> None:
    """Lets the process open as many files as it may: every client is one, and every file of a store."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
