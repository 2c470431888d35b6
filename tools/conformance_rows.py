"""Finds the tests of each conformance row: its id is in their name, their text or their vectors."""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[1]
ROWS = ROOT / "tests" / "conformance"

HEAD_ID = r"([MAHIT])[-_](\d{3})(?!\d)"
HEADS = re.compile(rf"(?<![a-z0-9]){HEAD_ID}(?:(?: to |_to_)(?:\1[-_])?(\d{{3}}))?", re.IGNORECASE)
IOTHUB = re.compile(r"rows?[ _](\d+(?:(?:, | and |_and_|, and |_)\d+|(?: to |_to_)\d+)*)(?![0-9a-z])")
AGENT = re.compile(
    r"(?<![a-z0-9])([MRPOCDWX])(\d{2})(?!\d)(?:(?: to |_to_)(?:\1)?(\d{2})(?!\d))?", re.IGNORECASE
)
AGENT_PREFIX = "agent:"
"""Before ids of the agent's rows, as heads have some of the same letters."""
AGENT_WORDS = ("agent", "docker", "environment", "workload")
"""In paths of tests that may be about the agent."""
SHOWN_MAX = 2


def head_rows(text: str) -> Iterator[str]:
    """Ids such as `M-041`, also as `m_041`, and all of `M-036 to M-039`."""
    for letter, first, last in HEADS.findall(text):
        for number in range(int(first), int(last or first) + 1):
            yield f"{letter.upper()}-{number:03}"


def agent_rows(text: str) -> Iterator[str]:
    """Ids such as `agent:P08`, from `P08`, `test_p08_dead`, and all of `M21 to M23`."""
    for letter, first, last in AGENT.findall(text):
        for number in range(int(first), int(last or first) + 1):
            yield f"{AGENT_PREFIX}{letter.upper()}{number:02}"


def iothub_rows(text: str) -> Iterator[str]:
    """Ids such as `28`, from `row 28`, `rows_28_and_29` and `rows 78 to 83`."""
    for found in IOTHUB.findall(text):
        numbers = [int(number) for number in re.findall(r"\d+", found)]
        separators = re.findall(r"[^\d]+", found)
        for index, number in enumerate(numbers):
            start = numbers[index - 1] + 1 if index and "to" in separators[index - 1] else number
            yield from (str(row) for row in range(start, number + 1))


def python_tests(path: Path) -> Iterator[str]:
    """Name and source of every test function, decorators included."""
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
            yield "\n".join(lines[first - 1 : node.end_lineno])


def tests_by_row(vectors: Iterable[tuple[Path, str]]) -> dict[str, set[str]]:
    """Paths of tests for each id.

    :param vectors: test and what the vectors that it runs are about.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in sorted(ROOT.glob("tests/**/test_*.py")):
        about_agent = any(word in str(path.relative_to(ROOT)) for word in AGENT_WORDS)
        about_iothub = "iothub" in str(path.relative_to(ROOT)) or "sdk" in path.parts
        for source in python_tests(path):
            name = source[source.index("def test") :].partition("(")[0]
            ids = [*head_rows(source), *iothub_rows(source if about_iothub else name)]
            ids += agent_rows(source if about_agent else "")
            for row in ids:
                found[row].add(str(path.relative_to(ROOT)))
    texts = [(path, path.read_text()) for path in sorted(ROOT.glob("rust/*/tests/**/*.rs"))]
    for path, text in [*texts, *vectors]:
        agents = agent_rows(text) if "edgeagent" in path.parts else ()
        for row in (*head_rows(text), *agents):
            found[row].add(str(path.relative_to(ROOT)))
    return found


def shown_by(paths: set[str]) -> str:
    """The first paths, and how many more."""
    first = sorted(paths)[:SHOWN_MAX]
    more = f" and {len(paths) - len(first)} more" if len(paths) > len(first) else ""
    return ", ".join(f"`{path}`" for path in first) + more


def section(
    rows: dict[str, str], deviations: dict[str, str], tests: dict[str, set[str]], prefix: str
) -> Iterator[str]:
    """Lines of one table.

    :param prefix: before the ids in `tests`.
    """
    yield "| row | what | state | shown by |"
    yield "|---|---|---|---|"
    for row, what in rows.items():
        paths = tests.get(prefix + row, set())
        state = f"deviation: {deviations[row]}" if row in deviations else "pass" if paths else "not yet"
        yield f"| {row} | {what} | {state} | {shown_by(paths)} |"


def row_tables(vectors: Iterable[tuple[Path, str]]) -> str:
    """All tables, with a count for each file of rows."""
    tests = tests_by_row(vectors)
    lines: list[str] = []
    for file in sorted(ROWS.glob("*.json")):
        content: dict[str, Any] = json.loads(file.read_text())
        ids = [row for rows in content["sections"].values() for row in rows]
        prefix = AGENT_PREFIX if content.get("ids") == "agent" else ""
        shown = sum(bool(tests.get(prefix + row)) for row in ids)
        lines += [f"## {content['about']}", "", f"{shown} of {len(ids)} rows are shown by tests.", ""]
        for name, rows in content["sections"].items():
            lines += [f"### {name}", "", *section(rows, content["deviations"], tests, prefix), ""]
    return "\n".join(lines)
