"""Every row of tests/vectors/deployments/manifests.json, and what no vector can show (rows M01 to M28)."""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.manifest.errors import ManifestError, ManifestFormatError
from edgeagent.manifest.parse import parse_manifest

if TYPE_CHECKING:
    from edgeagent.model.module import Deployment

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "deployments" / "manifests.json").read_text())
BASE = VECTORS["base"]
GONE = "<remove>"


def _changed(changes: dict[str, Any]) -> Any:
    document = copy.deepcopy(BASE)
    for path, value in changes.items():
        *way, name = path.split(".")
        inner = document
        for step in way:
            inner = inner[step]
        if value == GONE:
            del inner[name]
        elif value == "<201 modules>":
            inner[name] = {f"m{number}": BASE["modules"]["m"] for number in range(201)}
        else:
            inner[name] = value
    return document


def _desired(row: dict[str, Any]) -> Any:
    return row["desired"] if "desired" in row else _changed(row.get("set", {}))


def _seen(deployment: Deployment, name: str) -> Any:
    if name == "modules":
        return sorted(deployment.modules)
    if name == "credentials":
        found = deployment.runtime.registry_credentials.items()
        return {key: [value.address, value.username, value.password] for key, value in found}
    module, _, field = name.partition(".")
    return getattr(deployment.modules[module], field)


@pytest.mark.parametrize("row", VECTORS["rows"], ids=lambda row: f"{row['row']}: {row['about']}")
def test_manifest_vectors(row: dict[str, Any]) -> None:
    if row["code"] == 200:
        deployment = parse_manifest(_desired(row), row.get("parent")).deployment
        for name, expected in row.get("expect", {}).items():
            assert _seen(deployment, name) == expected, name
        return
    with pytest.raises(ManifestError) as fault:
        parse_manifest(_desired(row), row.get("parent"))
    assert fault.value.code == row["code"]
    assert row.get("text", "") in str(fault.value)


def test_a_newer_minor_is_worth_a_warning() -> None:
    assert parse_manifest(_changed({"schemaVersion": "1.4"})).warnings
    assert not parse_manifest(_changed({"schemaVersion": "1.3"})).warnings


def test_format_errors_begin_with_the_sentence_that_tools_look_for() -> None:
    with pytest.raises(ManifestFormatError) as fault:
        parse_manifest(_changed({"modules.m.type": "vm"}))
    assert fault.value.description == (
        'Agent configuration format is invalid. modules.m.type: "vm" is not known; only docker is'
    )


def test_no_text_of_a_deployment_has_its_passwords() -> None:
    credentials = {"a": {"address": "reg.example.net", "username": "u", "password": "pass-7731"}}
    deployment = parse_manifest(_changed({"runtime.settings.registryCredentials": credentials})).deployment
    assert "7731" not in repr(deployment)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _paths(document: Any, prefix: str = "") -> list[str]:
    found = []
    for name, value in document.items():
        found.append(f"{prefix}{name}")
        if isinstance(value, dict):
            found += _paths(value, f"{prefix}{name}.")
    return found


@given(path=st.sampled_from(_paths(BASE)), value=json_values)
def test_whatever_stands_anywhere_is_taken_or_refused(path: str, value: Any) -> None:
    with contextlib.suppress(ManifestError):
        parse_manifest(_changed({path: value}), "gw")


@given(json_values)
def test_any_json_is_taken_or_refused(document: Any) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(document)
