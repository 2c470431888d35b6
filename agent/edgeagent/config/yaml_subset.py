"""Reads the YAML that configuration files of earlier releases are written in: nested maps and lists of plain
and quoted texts. Whatever else YAML has (anchors, tags, texts over several lines) is refused by name.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from edgeagent.config.toml_table import ConfigFileError

DEPTH_MAX = 20
_KEY = re.compile(r"""(?P<key>"[^"]*"|'[^']*'|[^\s:#'"{}\[\],&*!|>%@`-][^:#]*?)\s*:(?:\s+(?P<rest>.*)|$)""")
_NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    indent: int
    text: str


def parse_yaml(text: str) -> dict[str, Any]:
    """The map that a document is.

    :raises ConfigFileError: no map, or something that is not read here; the text says the line.
    """
    lines = list(_lines(text))
    if not lines:
        return {}
    value, end = _block(lines, 0, lines[0].indent, DEPTH_MAX)
    if end < len(lines):
        raise _error(lines[end], "is indented otherwise than the lines above")
    if not isinstance(value, dict):
        raise _error(lines[0], "expected name: value")
    return value


def _error(line: _Line, text: str) -> ConfigFileError:
    return ConfigFileError("", f"line {line.number}: {text}")


def _lines(text: str) -> Any:
    for number, whole in enumerate(text.splitlines(), 1):
        stripped = whole.strip()
        if not stripped or stripped.startswith("#") or stripped == "---":
            continue
        indent = len(whole) - len(whole.lstrip(" "))
        line = _Line(number, indent, _without_comment(stripped))
        if whole[indent] == "\t":
            raise _error(line, "is indented with a tab; use blanks")
        yield line


def _without_comment(text: str) -> str:
    """A `#` within quotation marks belongs to the text."""
    quote = ""
    for at, character in enumerate(text):
        if quote:
            quote = "" if character == quote and text[at - 1] != "\\" else quote
        elif character in "\"'" and (at == 0 or text[at - 1] in " :[{,-"):
            quote = character
        elif character == "#" and text[at - 1] in " \t":
            return text[:at].rstrip()
    return text


def _block(lines: list[_Line], at: int, indent: int, depth: int) -> tuple[Any, int]:
    """A map or a list whose lines have this indentation, and where it ends."""
    if depth == 0:
        raise _error(lines[at], f"is more than {DEPTH_MAX} levels deep")
    is_list = lines[at].text == "-" or lines[at].text.startswith("- ")
    return _list(lines, at, indent, depth) if is_list else _map(lines, at, indent, depth)


def _map(lines: list[_Line], at: int, indent: int, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while at < len(lines) and lines[at].indent == indent:
        line = lines[at]
        parts = _KEY.fullmatch(line.text)
        if parts is None:
            raise _error(line, "expected name: value")
        key = str(_scalar(line, parts["key"], is_key=True))
        if key in found:
            raise _error(line, f'has "{key}" for the second time')
        rest = parts["rest"] or ""
        at += 1
        if rest:
            found[key] = _scalar(line, rest)
        elif at < len(lines) and (lines[at].indent > indent or _is_item_of(lines[at], indent)):
            found[key], at = _block(lines, at, lines[at].indent, depth - 1)
        else:
            found[key] = None
    if at < len(lines) and lines[at].indent > indent:
        raise _error(lines[at], "is indented more than the lines above")
    return found, at


def _is_item_of(line: _Line, indent: int) -> bool:
    """Lists may stand as far left as the name of the list."""
    return line.indent == indent and (line.text == "-" or line.text.startswith("- "))


def _list(lines: list[_Line], at: int, indent: int, depth: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    while at < len(lines) and _is_item_of(lines[at], indent):
        line = lines[at]
        rest = line.text[1:].lstrip()
        inner = line.indent + len(line.text) - len(rest)
        if _KEY.fullmatch(rest):
            # A map that begins on the line of its dash.
            lines[at] = _Line(line.number, inner, rest)
            value, at = _map(lines, at, inner, depth - 1) if depth > 1 else _too_deep(line)
        elif rest:
            value, at = _scalar(line, rest), at + 1
        else:
            raise _error(line, "expected a value behind the dash")
        found.append(value)
    return found, at


def _too_deep(line: _Line) -> Any:
    raise _error(line, f"is more than {DEPTH_MAX} levels deep")


def _scalar(line: _Line, text: str, *, is_key: bool = False) -> Any:
    if text[0] in "\"'":
        return _quoted(line, text)
    if text in ("{}", "[]"):
        return {} if text == "{}" else []
    if text[0] in "{[&*!|>%@`":
        raise _error(line, f'"{text[0]}" is YAML that is not read here; write it over several lines')
    if is_key:
        return text
    if _NUMBER.fullmatch(text):
        return int(text)
    return _WORDS.get(text, text) if text.lower() not in _WORDS else _WORDS[text.lower()]


def _quoted(line: _Line, text: str) -> str:
    quote = text[0]
    if len(text) < 2 or text[-1] != quote:
        raise _error(line, "has a quotation mark that is not closed")
    if quote == "'":
        return text[1:-1].replace("''", "'")
    try:
        return str(json.loads(text))
    except ValueError:
        raise _error(line, "has an escape in quotation marks that is not read here") from None
