"""Types of decoded JSON."""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A decoded JSON value of unknown shape; narrowed by the code that reads it."""
