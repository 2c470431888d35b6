"""Writes docs/agent-settings.md from the table of settings: `python -m edgeagent.config.document FILE`."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from edgeagent.config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """<!-- Generated: make settings -->
# Settings of edgeAgent

Environment variables, in any case; `:` and `__` are the same in nested names. A value that cannot be read
ends the agent with exit code 1 and one line that says what would be right. What the command line takes is in
`edgeagent run --help`.

| name | default | about |
|---|---|---|
"""

_TAIL = """
`DockerRegistryAuth__N__serverAddress`, `...__username` and `...__password`, with N from 0 without gaps, are
registry credentials beside those of the deployment. `IotHubConnectionString` is the connection string of the
device.
"""


def page() -> str:
    """The whole page."""
    return _HEAD + "".join(_rows()) + _TAIL


def _rows() -> Iterator[str]:
    for row in fields(Settings):
        if "name" in row.metadata:
            default = _shown(row.metadata["shown"] or row.default)
            yield f"| `{row.metadata['name']}` | {default} | {row.metadata['about']} |\n"


def _shown(value: object) -> str:
    if value == "":
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
