"""What is wrong with routes, as JSON for tools and as text for people."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer
from rich.cells import cell_len

from edgehub import router

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgehub.cli.route.routes_file import RoutesFile


@dataclass(frozen=True, slots=True)
class Note:
    """An error or a warning about one route.

    :param code: short name of the kind; stable.
    :param hint: what would be right, if that can be told.
    :param line: from 1, in the route's text; columns count UTF-16 units from 1, ends are exclusive. 1:1-1:1
        where the text is not to blame.
    """

    code: str
    message: str
    hint: str | None = None
    line: int = 1
    column: int = 1
    end_line: int = 1
    end_column: int = 1


@dataclass(slots=True)
class RouteNotes:
    """All notes about one route."""

    errors: list[Note] = field(default_factory=list)
    warnings: list[Note] = field(default_factory=list)


def check_routes(file: RoutesFile, edge_device_id: str) -> dict[str, RouteNotes]:
    """Checks every declared route; the name is empty for what concerns them all."""
    found = router.check(file.routes, edge_device_id=edge_device_id, schema=file.schema)
    notes = {
        name: RouteNotes([_note(item) for item in of.errors], [_note(item) for item in of.warnings])
        for name, of in found.routes.items()
    }
    for name, message in file.repeated.items():
        notes.setdefault(name, RouteNotes()).errors.append(Note("duplicate-name", message))
    return notes


def _note(item: Any) -> Note:
    return Note(item.code, item.message, item.hint, item.line, item.column, item.end_line, item.end_column)


def notes_as_json(notes: Mapping[str, RouteNotes]) -> str:
    """One JSON object with every declared route."""
    shown = {
        name: {
            "errors": [_as_object(note) for note in of.errors],
            "warnings": [_as_object(note) for note in of.warnings],
        }
        for name, of in notes.items()
    }
    return json.dumps({"routes": shown}, indent=2, ensure_ascii=False)


def _as_object(note: Note) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "line": note.line,
        "column": note.column,
        "endLine": note.end_line,
        "endColumn": note.end_column,
        "code": note.code,
        "message": note.message,
    }
    return shown if note.hint is None else {**shown, "hint": note.hint}


def notes_as_lines(file: RoutesFile, notes: Mapping[str, RouteNotes]) -> Iterator[str]:
    """Lines for people: each note with its place underlined, and a summary."""
    for name, of in notes.items():
        text = route_text(file.routes.get(name))
        for kind, colour, found in (("error", "red", of.errors), ("warning", "yellow", of.warnings)):
            for note in found:
                yield from _note_lines(name, text, note, kind, colour)
    yield summary(notes)


def route_text(declaration: Any) -> str:
    """The text of a declared route; empty if the declaration has none."""
    text = declaration.get("route") if isinstance(declaration, dict) else declaration
    return text if isinstance(text, str) else ""


def _note_lines(name: str, text: str, note: Note, kind: str, colour: str) -> Iterator[str]:
    where = f"{name or '(all routes)'}:{note.line}:{note.column}"
    yield f"{where}: {typer.style(kind, fg=colour, bold=True)} [{note.code}] {note.message}"
    yield from _marked(text, note, colour)
    if note.hint is not None:
        yield f"    hint: {note.hint}"
    yield ""


def _marked(text: str, note: Note, colour: str) -> Iterator[str]:
    """The line of the route with carets below the place; nothing if the place is not in the text."""
    lines = text.split("\n")
    if (note.end_line, note.end_column) <= (note.line, note.column) or not 1 <= note.line <= len(lines):
        return
    line = lines[note.line - 1].rstrip("\r")
    start = _offset(line, note.column)
    end = _offset(line, note.end_column) if note.end_line == note.line else len(line)
    blanks = "".join("\t" if char == "\t" else " " * cell_len(char) for char in line[:start])
    carets = "^" * max(1, cell_len(line[start:end]))
    yield f"    {line}"
    yield f"    {blanks}{typer.style(carets, fg=colour, bold=True)}"


def _offset(line: str, column: int) -> int:
    """Characters before a column; columns count UTF-16 units."""
    units = 0
    for offset, char in enumerate(line):
        if units >= column - 1:
            return offset
        units += 2 if ord(char) > 0xFFFF else 1
    return len(line)


def summary(notes: Mapping[str, RouteNotes]) -> str:
    """How many routes there are, and how many are wrong or odd."""
    declared = sum(1 for name in notes if name)
    wrong = sum(1 for of in notes.values() if of.errors)
    odd = sum(1 for of in notes.values() if of.warnings)
    counts = [
        text for text, count in ((f"{wrong} with errors", wrong), (f"{odd} with warnings", odd)) if count
    ]
    return f"{declared} route{'' if declared == 1 else 's'}, {', '.join(counts) or 'all right'}"
