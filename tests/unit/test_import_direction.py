"""Who may import whom, for both languages (docs/architecture.md, crates and packages)."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CRATES = {
    "types": set(),
    "pool": {"types"},
    "router": set(),
    "mqtt": {"types"},
    "store": {"types"},
    "engine": {"router", "store", "mqtt", "pool", "types"},
    "net": {"engine", "pool", "types"},
    "py": {"net", "engine", "store", "router", "types"},
    "testkit": {"types"},
}

# Package of edgehub -> packages of edgehub it may import besides itself. `errors` is open to all.
PACKAGES = {
    "common": set(),
    "protocol": {"common"},
    "config": {"common"},
    "identity": {"_core", "common", "protocol", "config"},
    "metrics": {"common"},
    "hub": {"_core", "identity", "config", "common", "protocol"},
    "heads": {"protocol", "hub", "identity", "metrics", "common", "_core"},
    "upstream": {"protocol", "common", "_core"},
    "router": {"_core"},
    "store_files": {"_core"},
}

NO_IO = {"asyncio", "ssl", "socket", "time", "aiohttp", "uvloop", "select", "selectors", "threading"}


def _crate_dependencies(crate: str) -> set[str]:
    manifest = tomllib.loads((ROOT / "rust" / crate / "Cargo.toml").read_text())
    names = manifest.get("dependencies", {})
    return {name.removeprefix("edgehub-") for name in names if name.startswith("edgehub-")}


@pytest.mark.parametrize("crate", sorted(CRATES))
def test_crates_depend_only_downwards(crate: str) -> None:
    assert _crate_dependencies(crate) <= CRATES[crate]


def test_every_crate_is_in_the_table() -> None:
    assert {path.parent.name for path in (ROOT / "rust").glob("*/Cargo.toml")} == set(CRATES)


def _runtime_imports(source: Path) -> set[str]:
    """Modules imported when the file runs; imports under TYPE_CHECKING are for the checker alone."""
    tree = ast.parse(source.read_text(), str(source))
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def _edgehub_packages(source: Path) -> set[str]:
    parts = (name.split(".") for name in _runtime_imports(source))
    return {part[1] for part in parts if part[0] == "edgehub" and len(part) > 1}


def _sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_packages_import_only_what_they_may(package: str) -> None:
    allowed = PACKAGES[package] | {package, "errors"}
    wrong = {
        f"{source.relative_to(ROOT)} imports edgehub.{name}"
        for source in _sources(ROOT / "python/edgehub" / package)
        for name in _edgehub_packages(source) - allowed
        if name not in {"__version__"}
    }
    assert not wrong


def test_iothub_reuses_only_the_shared_parts() -> None:
    allowed = {"_core", "heads", "protocol", "identity", "common", "errors"}
    wrong = {
        f"{source.relative_to(ROOT)} imports edgehub.{name}"
        for source in _sources(ROOT / "python/iothub")
        for name in _edgehub_packages(source) - allowed
    }
    assert not wrong


def test_protocol_does_no_io() -> None:
    wrong = {
        f"{source.relative_to(ROOT)} imports {name}"
        for source in _sources(ROOT / "python/edgehub/protocol")
        for name in _runtime_imports(source)
        if name.split(".")[0] in NO_IO
    }
    assert not wrong


def test_only_the_binding_crate_knows_python() -> None:
    knows = {crate for crate in CRATES if "pyo3" in (ROOT / "rust" / crate / "Cargo.toml").read_text()}
    assert knows == {"py"}


@pytest.mark.parametrize("source", sorted((ROOT / "agent").rglob("*.py")), ids=lambda path: path.stem)
def test_the_agent_stands_alone(source: Path) -> None:
    """It is installed without the hub, and without the extension."""
    assert not {name.partition(".")[0] for name in _runtime_imports(source)} & {"edgehub", "iothub"}


# Packages of the agent that decide: they do no I/O and read no clock.
AGENT_PURE = ("manifest", "model", "planner")


@pytest.mark.parametrize("package", AGENT_PURE)
def test_decisions_of_the_agent_are_pure(package: str) -> None:
    for source in (ROOT / "agent" / "edgeagent" / package).glob("*.py"):
        assert not {name.partition(".")[0] for name in _runtime_imports(source)} & NO_IO, source
