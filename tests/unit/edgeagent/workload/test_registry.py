from __future__ import annotations

import json
import stat
from contextlib import suppress
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.workload.api import Caller
from edgeagent.workload.errors import RegistryError
from edgeagent.workload.registry import MODULES_MAX, Registry, check_generation_id, check_module_id

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "workload.json"


def test_modules_survive_a_restart(path: Path) -> None:
    registry = Registry(path)
    assert registry.register("m1", "1") == Caller("m1", "1")
    assert registry.register("$edgeHub", "2").name == "edgeHub"
    assert Registry(path).modules == {"m1": Caller("m1", "1"), "edgeHub": Caller("$edgeHub", "2")}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_another_generation(path: Path) -> None:
    registry = Registry(path)
    registry.register("m1", "1")
    registry.register("m1", "2")
    assert Registry(path).modules == {"m1": Caller("m1", "2")}


def test_generations_that_no_hub_gave(path: Path) -> None:
    """One is made up, and kept until the module is taken out."""
    registry = Registry(path)
    made_up = registry.register("m1").generation_id
    assert len(made_up) == 18
    assert made_up.isdigit()
    assert registry.register("m1").generation_id == made_up
    assert Registry(path).register("m1").generation_id == made_up
    registry.unregister("m1")
    assert registry.register("m1").generation_id != made_up


def test_unregister(path: Path) -> None:
    registry = Registry(path)
    registry.register("m1", "1")
    assert registry.unregister("m1")
    assert not registry.unregister("m1")
    assert not Registry(path).modules


def test_what_is_known_already_is_not_written(path: Path) -> None:
    registry = Registry(path)
    registry.register("m1", "1")
    registry.note_ca("a")
    registry.acknowledge("a")
    with patch("edgeagent.workload.registry.write_secret", side_effect=AssertionError):
        registry.register("m1", "1")
        registry.register("m1")
        registry.unregister("m2")
        registry.note_ca("a")
        registry.acknowledge("a")


def test_a_full_disk_changes_nothing(path: Path) -> None:
    registry = Registry(path)
    registry.register("m1", "1")
    registry.note_ca("a")
    with patch("edgeagent.workload.registry.write_secret", side_effect=OSError("full")):
        for change in (
            lambda: registry.register("m2"),
            lambda: registry.unregister("m1"),
            lambda: registry.note_ca("b"),
        ):
            with pytest.raises(OSError, match="full"):
                change()
    assert registry.modules == {"m1": Caller("m1", "1")}
    assert (registry.renewals, registry.restart_due) == (0, False)


def test_x06_renewals_are_counted_until_modules_were_restarted(path: Path) -> None:
    """Row X06: also over restarts of the service."""
    registry = Registry(path)
    assert not registry.note_ca("a")
    assert (registry.renewals, registry.restart_due) == (0, False)
    assert registry.note_ca("b")
    registry = Registry(path)
    assert (registry.renewals, registry.restart_due) == (1, True)
    registry.note_ca("c")
    registry.acknowledge("b")
    assert registry.restart_due
    registry.acknowledge("c")
    assert not Registry(path).restart_due
    assert Registry(path).renewals == 2


def test_the_limit_of_modules(path: Path) -> None:
    with patch("edgeagent.workload.registry.write_secret"):
        registry = Registry(path)
        for number in range(MODULES_MAX):
            registry.register(f"m{number}", "1")
        with pytest.raises(RegistryError, match=f"{MODULES_MAX} modules are registered"):
            registry.register("more", "1")
        registry.register("m0", "2")


@pytest.mark.parametrize("module_id", ["m1", "M.1_x-y", "$edgeHub", "$edgeAgent", "x" * 128])
def test_module_ids(module_id: str) -> None:
    check_module_id(module_id)


@pytest.mark.parametrize(
    ("module_id", "text"),
    [
        ("", "expected a name for a container"),
        ("$", "expected a name for a container"),
        (".", "expected a name for a container"),
        ("..", "expected a name for a container"),
        ("a/b", "expected a name for a container"),
        ("a\n", "expected a name for a container"),
        ("a:b", "expected a name for a container"),
        ("x" * 129, "expected a name for a container"),
        ("$m1", "the identity of the module m1 is m1"),
        ("edgeHub", r"the identity of the module edgeHub is \$edgeHub"),
    ],
)
def test_ids_that_are_refused(module_id: str, text: str, path: Path) -> None:
    with pytest.raises(RegistryError, match=text):
        Registry(path).register(module_id, "1")


@pytest.mark.parametrize("generation_id", ["1:2", "a b", "x" * 129, "ä", "1\n"])
def test_generation_ids_that_are_refused(generation_id: str, path: Path) -> None:
    with pytest.raises(RegistryError, match="generation id"):
        Registry(path).register("m1", generation_id)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"version":2}',
        b'{"modules":[{"moduleId":"../x","generationId":"1"}]}',
        b'{"modules":[{"moduleId":"x","generationId":""}]}',
        b"x" * (1024 * 1024 + 1),
    ],
)
def test_a_damaged_file_is_set_aside(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    registry = Registry(path)
    assert not registry.modules
    assert path.with_name("workload.json.damaged").read_bytes() == content
    assert "no module is known" in caplog.text
    registry.register("m1", "1")


@given(st.binary(max_size=100) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(
    lambda value: json.dumps({"version": 1, "modules": value}).encode()))  # fmt: skip
def test_random_files_never_stop_the_service(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "random" / "workload.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    Registry(path)


@given(st.text(max_size=150))
def test_no_accepted_name_leaves_its_folder(name: str) -> None:
    with suppress(RegistryError):
        check_module_id(name)
        check_generation_id(name.removeprefix("$"))
        assert "/" not in name
        assert name.strip(".")
