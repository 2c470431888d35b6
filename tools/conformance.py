"""Writes docs/conformance.md: the conformance rows with the tests that show them, and the vectors.

tools/conformance.py            # write the page
tools/conformance.py --check    # exit code 1 if the page is not what it would be
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from conformance_rows import row_tables

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "conformance.md"
VECTORS = ROOT / "tests" / "vectors"

HEAD = """<!-- Generated: make conformance -->
# Conformance

What clients and services can see has a list of rows. A row is shown by tests that have its id in their
name or text, or run vectors that are about it; all of them run with `make test`. "not yet" has none. Where
we differ from the reference on purpose, [deviations.md](deviations.md) gives the reason.

"""

VECTOR_HEAD = """## Vectors

Behaviour that is data: one row for each case, and every row is run. A file is read by each language that
implements what it is about.

| file | rows | about | run by |
|---|---|---|---|
"""


def rows_of(vectors: Any) -> int:
    """Cases of a file: the entries of all its lists."""
    if isinstance(vectors, list):
        return len(vectors)
    return sum(len(value) for value in vectors.values() if isinstance(value, list))


def named_rows(vectors: Any) -> str:
    """Conformance rows that single vectors are about."""
    rows = vectors.get("rows", ()) if isinstance(vectors, dict) else ()
    return " ".join(sorted({row["row"] for row in rows if isinstance(row, dict) and "row" in row}))


def sources() -> dict[Path, str]:
    """Tests and loaders of both languages, by path."""
    found = [
        *ROOT.glob("tests/**/*.py"),
        *ROOT.glob("rust/*/tests/**/*.rs"),
        *ROOT.glob("rust/*/src/**/*.rs"),
    ]
    return {path: path.read_text() for path in sorted(found) if path.name != "test_conformance_page.py"}


def readers(file: Path, texts: dict[Path, str]) -> list[str]:
    """Paths of the tests that name the file, by its whole name or, in Python, by its stem as a text."""
    folder, name, stem = file.parent.name, file.name, file.stem

    def reads(path: Path, text: str) -> bool:
        named = f'"{name}"' in text or f"/{name}" in text or f'"{folder}/{stem}"' in text
        return named and (folder in text or folder in str(path) or "router" in str(path))

    return [str(path.relative_to(ROOT)) for path, text in texts.items() if reads(path, text)]


def page() -> str:
    """The whole page."""
    texts = sources()
    lines = []
    about_rows: list[tuple[Path, str]] = []
    for file in sorted(VECTORS.glob("*/*.json")):
        vectors = json.loads(file.read_text())
        about = vectors.get("about", "") if isinstance(vectors, dict) else ""
        paths = readers(file, texts)
        about_rows += [(ROOT / path, f"{about} {named_rows(vectors)}") for path in paths]
        run_by = ", ".join(f"`{path}`" for path in paths)
        shown = about.split(". ")[0].rstrip(".").replace("|", "\\|")
        lines.append(f"| `{file.parent.name}/{file.name}` | {rows_of(vectors)} | {shown} | {run_by} |")
    return HEAD + row_tables(about_rows) + "\n" + VECTOR_HEAD + "\n".join(lines) + "\n"


def main() -> int:
    """Writes or checks the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only tell whether the page is current")
    if parser.parse_args().check:
        if PAGE.read_text() == page():
            return 0
        sys.stderr.write(f"{PAGE.relative_to(ROOT)} is not current: run make conformance\n")
        return 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
