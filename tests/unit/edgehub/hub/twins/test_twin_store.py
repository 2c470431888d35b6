"""Records of twins, and where they are kept (I-018; heads spec 7.1)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edgehub.common.ids import IdentityId
from edgehub.common.merge_patch import Gathered
from edgehub.common.state import MemoryState, SqliteState, StateError
from edgehub.hub.twins.record import TwinFormatError, TwinRecord, decode_record, encode_pending, encode_twin
from edgehub.hub.twins.store import PENDING, TWINS, TwinStore
from edgehub.identity.sealing import Sealer

if TYPE_CHECKING:
    from pathlib import Path

D = IdentityId("dev1")
SECRET = "a secret of the client"


def record() -> TwinRecord:
    read = TwinRecord().read({"a": 1, "$version": 3}, {"r": SECRET, "$version": 9})
    return read.reported_by_client({"r": None, "s": {"t": 1}})


def sealer(byte: int = 1) -> Sealer:
    return Sealer(bytes([byte]) * 32)


def test_a_record_is_read_as_it_was_written() -> None:
    found = decode_record(encode_twin(record()), encode_pending(record()))
    assert found == record()
    assert encode_pending(TwinRecord()) is None
    assert decode_record(None, None) == TwinRecord()


def test_what_is_on_its_way_counts_as_waiting_after_a_crash() -> None:
    sending = record().begin_sending().reported_by_client({"u": 1})
    found = decode_record(encode_twin(sending), encode_pending(sending))
    assert found.waiting == Gathered({}, {"r": None, "s": {"t": 1}, "u": 1})
    assert not found.sending


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"format":2,"desired":{},"reported":{}}',
        b'{"format":1}',
        b'{"format":1,"desired":3,"reported":{}}',
        b'{"format":1,"desired":{},"reported":[]}',
        b'{"a":' * 50_000,
    ],
)
def test_damaged_records_are_told(data: bytes) -> None:
    with pytest.raises(TwinFormatError):
        decode_record(data, None)
    with pytest.raises(TwinFormatError):
        decode_record(None, data)


async def test_twins_survive_and_only_what_waits_is_in_memory(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db")
    store = TwinStore(state, sealer())
    written = store.put(D, record())
    assert written is not None
    await written
    store.put(IdentityId("dev2"), TwinRecord().read({}, {}))
    state.close()
    state = SqliteState(tmp_path / "state.db")
    found = TwinStore(state, sealer())
    assert found.waiting == (D,)
    assert found.get(D) == record()
    assert found.get(IdentityId("dev2")) == TwinRecord().read({}, {})
    assert found.get(IdentityId("nobody")) == TwinRecord()
    state.close()


async def test_i_018_twins_are_encrypted_in_their_place(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db")
    TwinStore(state, sealer()).put(D, record())
    state.close()
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())  # noqa: ASYNC240 - nothing else runs
    assert SECRET.encode() not in content
    assert b"reported" not in content
    state = SqliteState(tmp_path / "state.db")
    data = state.get(TWINS, "dev1")
    state.write([(TWINS, "dev2", data)])
    assert TwinStore(state, sealer()).get(IdentityId("dev2")) == TwinRecord(), "of another place"
    assert TwinStore(state, sealer(2)).get(D) == TwinRecord(), "of another key"
    assert TwinStore(state, None).get(D) == TwinRecord(), "without a key"
    state.close()


async def test_both_forms_are_read() -> None:
    state = MemoryState()
    TwinStore(state, None).put(D, record())
    assert json.loads(state.get(TWINS, "dev1") or b"")["desired"] == {"a": 1, "$version": 3}
    store = TwinStore(state, sealer())
    assert store.get(D) == record()
    store.put(D, record().begin_sending().sent())
    assert (state.get(TWINS, "dev1") or b"")[:1] == b"\x01"
    assert state.items(PENDING) == []
    assert store.waiting == ()


async def test_a_twin_that_cannot_be_read_is_none(caplog: pytest.LogCaptureFixture) -> None:
    state = MemoryState()
    state.write([(TWINS, "dev1", b"{damage"), (PENDING, "dev2", b"{damage")])
    store = TwinStore(state, None)
    assert store.get(D) == TwinRecord()
    assert store.waiting == ()
    assert "The stored twin of dev1 is not used" in caplog.text
    assert "The stored twin of dev2 is not used" in caplog.text


async def test_a_gone_identity_is_forgotten_also_if_the_state_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    state = MemoryState()
    store = TwinStore(state, None)
    store.put(D, record())
    store.drop(D)
    store.drop(IdentityId("nobody"))
    assert (store.waiting, state.items(TWINS), state.items(PENDING)) == ((), [], [])

    def fails(bucket: str, key: str) -> bytes | None:
        raise StateError("no disk")

    monkeypatch.setattr(state, "get", fails)
    store.drop(D)
    assert "no disk" in caplog.text
