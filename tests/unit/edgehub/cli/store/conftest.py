"""Runs `edgehub store` in this process, on a small store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from edgehub.cli.commands import app
from testkit.store_files import WRITTEN_MS, StoreFiles, encoded_message

if TYPE_CHECKING:
    from pathlib import Path

Run = Callable[..., Any]


@pytest.fixture
def run() -> Run:
    """`run("ls", path)`."""

    def invoke(*arguments: str | Path) -> Any:
        return CliRunner().invoke(app, ["store", *map(str, arguments)])

    return invoke


@pytest.fixture
def store(tmp_path: Path) -> StoreFiles:
    """Three messages for the parent hub, the first of them acknowledged, and two priorities of one input."""
    files = StoreFiles(tmp_path / "messages")
    files.define(1, "iothub")
    files.define(2, "edge/filter/in", 5)
    files.define(3, "edge/filter/in", 7)
    files.append([1], encoded_message(b"zero"))
    files.append(
        [1, 2], encoded_message(b"one", properties={"unit": "\u00b0C", "null": None}), WRITTEN_MS + 60_000
    )
    output = encoded_message(b"\xff\x00", device="edge", module="m", system={8: "out", 6: "text/plain"})
    files.append([1], output)
    files.acknowledge(1, 1)
    return files
