"""`edgehub store verify`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from testkit.store_files import StoreFiles

    Run = Callable[..., Any]


def spoil(store: StoreFiles, offset: int) -> None:
    store.content[offset] ^= 1
    store.save()


def test_a_whole_store_is_sound(run: Run, store: StoreFiles) -> None:
    result = run("verify", store.folder)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "sound")
    assert "6 records checked" in result.stdout


def test_damage_has_file_and_offset(run: Run, store: StoreFiles) -> None:
    offset = store.content.index(b"zero") // 8 * 8
    spoil(store, offset)
    result = run("verify", store.folder)
    assert result.exit_code == 1
    assert f"{store.path.name}: " in result.stdout
    assert "are damaged" in result.stdout
    assert "edgehub store verify" in run("ls", store.folder).stderr
    shown = json.loads(run("verify", store.folder, "--json").stdout)
    [finding] = shown["segments"][0]["findings"]
    assert finding["kind"] == "damaged"
    assert finding["offset"] <= offset < finding["offset"] + finding["bytes"]
    assert (shown["sound"], shown["damagedBytes"]) == (False, finding["bytes"])


def test_a_torn_end_is_no_damage(run: Run, store: StoreFiles) -> None:
    store.path.write_bytes(store.content + store.content[80:140])
    result = run("verify", store.folder)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "sound")
    assert f"at offset {len(store.content):,} are not whole" in result.stdout


def test_orphans_are_told(run: Run, store: StoreFiles) -> None:
    spoil(store, store.content.index(b"iothub"))
    shown = json.loads(run("verify", store.folder, "--json").stdout)
    assert shown["orphanedMessages"] == 3


def test_what_an_earlier_recovery_put_aside_is_named(run: Run, store: StoreFiles) -> None:
    (store.folder / "journal-000000000000.bad").write_bytes(b"x")
    result = run("verify", store.folder)
    assert result.exit_code == 0
    assert "journal-000000000000.bad: put aside" in result.stdout
