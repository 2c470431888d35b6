"""Runs `edgehub route` in this process, on files in an empty folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from edgehub.cli.commands import app

if TYPE_CHECKING:
    from pathlib import Path

Run = Callable[..., Any]
Write = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("check", path, stdin=b"...")`."""
    monkeypatch.delenv("IOTEDGE_DEVICEID", raising=False)

    def invoke(*arguments: str, stdin: str | bytes | None = None) -> Any:
        return CliRunner().invoke(app, ["route", *arguments], input=stdin)

    return invoke


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(value)` as JSON, text or bytes as they are; returns the path."""

    def to_file(content: Any, name: str = "routes.json") -> str:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return to_file
