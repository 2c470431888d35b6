"""The package as a whole: examples run, nothing heavy is imported."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import edgehub.router

ROOT = Path(__file__).resolve().parents[4]


def test_examples_run() -> None:
    finder = doctest.DocTestFinder()
    objects = [("edgehub.router", edgehub.router)]
    objects += [(name, getattr(edgehub.router, name)) for name in edgehub.router.__all__]
    examples = 0
    for name, item in objects:
        for test in finder.find(item, name, module=False, globs={}):
            result = doctest.DocTestRunner().run(test)
            assert result.failed == 0, test.name
            examples += result.attempted
    assert examples >= 15


def test_every_public_name_has_a_docstring() -> None:
    for name in edgehub.router.__all__:
        assert getattr(edgehub.router, name).__doc__, name


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import sys, edgehub.router; print('\\n'.join(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
        env={"PYTHONPATH": str(ROOT / "python")},
    )
    loaded = set(found.stdout.split())
    assert "edgehub.router" in loaded
    assert {name for name in loaded if name.startswith("edgehub")} == {
        "edgehub",
        "edgehub._core",
        "edgehub.router",
    }
    heavy = {"asyncio", "uvloop", "aiohttp", "proton", "cryptography", "sqlalchemy", "typer", "rich", "json"}
    assert not heavy & loaded
