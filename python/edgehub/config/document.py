"""Writes `docs/configuration.md` from the settings table: `python -m edgehub.config.document [FILE]`.

Without a file the page goes to standard output.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgehub.config.inactive import INACTIVE
from edgehub.config.rows import Row, rows_of
from edgehub.config.settings import SECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """\
# Configuration

<!-- Generated: python -m edgehub.config.document docs/configuration.md -->

The hub reads its settings from environment variables, once, at start. Names are case-insensitive; `__` and
`:` both separate levels. `true` and `false` are accepted in any case; durations have the form
`[d.]hh:mm:ss[.f]`. A value that cannot be read ends the start with exit code 1 and one line that names the
variable, the value and what would be right; variables marked *lenient* fall back to their default with a
warning. Unknown variables are ignored.

Routes and the time to live come from the desired properties of the module `$edgeHub` and are applied while
the hub runs. Variables marked *own* are not known to the Azure IoT Edge runtime; all others mean there what
they mean here.
"""

_TABLE_HEAD = "| Variable | Type | Default | Unit | Meaning |\n|---|---|---|---|---|"

_INACTIVE_HEAD = """\
## Accepted without effect

These variables of the Azure IoT Edge runtime are known but change nothing. A value that asks for something
else than what the hub does gives one warning line at start.

| Variable | Why |
|---|---|
"""


def configuration_page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for section in SECTIONS.values():
        rows = "\n".join(_row(row) for _, row in rows_of(section))
        parts.append(f"## {section.__doc__}\n\n{_TABLE_HEAD}\n{rows}\n")
    parts.append(_local_routes())
    parts.append(
        _INACTIVE_HEAD + "\n".join(f"| `{entry.env}` | {_cell(entry.doc)} |" for entry in INACTIVE) + "\n"
    )
    return "\n".join(parts)


def _local_routes() -> str:
    return (
        "## Routes in the environment\n\nWith `configSource=local` every variable `routes__<name>` is a "
        "route, for example `routes__up=FROM /messages/* INTO $upstream`.\n"
        "Without any, all messages go upstream.\n"
    )


def _row(row: Row) -> str:
    default = row.reader.write(row.default)
    shown = f"`{default}`" if default else "empty"
    return f"| `{row.env}` | {_cell(row.reader.name)} | {shown} | {row.unit} | {_cell(_meaning(row))} |"


def _meaning(row: Row) -> str:
    return " ".join(_meaning_parts(row))


def _meaning_parts(row: Row) -> Iterator[str]:
    yield row.doc
    if row.aliases:
        yield "Also: " + ", ".join(f"`{name}`" for name in row.aliases) + "."
    if row.lenient:
        yield "*Lenient.*"
    if row.own:
        yield "*Own.*"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Writes the page to the named file, or to standard output."""
    page = configuration_page()
    if arguments:
        Path(arguments[0]).write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
