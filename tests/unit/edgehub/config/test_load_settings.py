"""Settings from the environment (C14 to C16, settings spec 5.1)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.config.environment import normal_name
from edgehub.config.inactive import INACTIVE
from edgehub.config.load import SettingsError, load_settings
from edgehub.config.rows import rows_of
from edgehub.config.settings import SECTIONS

VECTORS = json.loads((Path(__file__).parents[3] / "vectors/settings/environment.json").read_text())


def shown(vector: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in vector["environment"].items()) or "empty"


@pytest.mark.parametrize("vector", VECTORS["accepted"], ids=shown)
def test_accepted(vector: dict[str, Any]) -> None:
    loaded = load_settings(vector["environment"])
    for path, value in vector["expect"].items():
        section, name = path.split(".")
        assert getattr(getattr(loaded.settings, section), name) == value
    assert loaded.warnings == ()


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=shown)
def test_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(vector["environment"])
    for part in vector["parts"]:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("vector", VECTORS["warned"], ids=shown)
def test_warned(vector: dict[str, Any]) -> None:
    warnings = load_settings(vector["environment"]).warnings
    for part in vector["parts"]:
        assert any(part in warning for warning in warnings)


def test_settings_without_effect_share_one_line() -> None:
    warnings = load_settings({"CacheTokens": "true", "BackupFolder": "/b", "TrackDeviceState": "1"}).warnings
    assert len(warnings) == 1
    assert warnings[0].endswith("BackupFolder, CacheTokens")


def test_a_secret_is_never_shown() -> None:
    rows = [row for section in SECTIONS.values() for _, row in rows_of(section) if row.secret]
    assert [row.env for row in rows] == ["IotHubConnectionString"]


def test_the_last_spelling_in_byte_order_wins() -> None:
    environment = {"mqttsettings__port": "2", "MQTTSETTINGS__PORT": "1"}
    assert load_settings(environment).settings.mqtt.port == 2
    assert load_settings(dict(reversed(environment.items()))).settings.mqtt.port == 2


def test_local_routes() -> None:
    loaded = load_settings({"routes__up": "FROM /* INTO $upstream", "ROUTES__Two__x": "t"})
    assert loaded.settings.local_routes == (("Two:x", "t"), ("up", "FROM /* INTO $upstream"))
    assert load_settings({}).settings.local_routes == (("r1", "FROM /* INTO $upstream"),)


def test_no_name_is_in_both_tables_or_twice() -> None:
    names = [
        normal_name(name)
        for section in SECTIONS.values()
        for _, row in rows_of(section)
        for name in (row.env, *row.aliases)
    ]
    names += [normal_name(entry.env) for entry in INACTIVE]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS)
def test_every_default_reads_back_from_its_text(section: type[Any]) -> None:
    for name, row in rows_of(section):
        assert getattr(section(), name) == row.default
        if row.default is not None:
            assert row.reader.read(row.reader.write(row.default)) == row.default
        assert row.doc.endswith(".")


@given(
    st.dictionaries(
        st.sampled_from([row.env for section in SECTIONS.values() for _, row in rows_of(section)]),
        st.text(max_size=20),
    )
)
def test_any_value_is_read_or_named(environment: dict[str, str]) -> None:
    named = None
    try:
        load_settings(environment)
    except SettingsError as error:
        named = str(error).partition("=")[0]
    assert named is None or named in environment
