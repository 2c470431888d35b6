"""`edgehub store peek` and `export`."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest

from edgehub._core import StoreInspector
from edgehub.cli.store.report import iso_time
from testkit.store_files import WRITTEN_MS, StoreFiles, encoded_message

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., Any]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_export_has_every_message(run: Run, store: StoreFiles) -> None:
    result = run("export", "iothub", store.folder)
    assert (result.exit_code, result.stderr) == (0, "")
    assert lines(result.stdout) == [
        {
            "source": "/messages/",
            "systemProperties": {"connectionDeviceId": "leaf"},
            "properties": {"unit": "\u00b0C", "null": None},
            "body": "one",
            "seq": 1,
            "expiresAt": iso_time(WRITTEN_MS + 60_000),
            "enqueuedAt": iso_time(WRITTEN_MS),
        },
        {
            "source": "/messages/modules/m/outputs/out/",
            "systemProperties": {
                "connectionDeviceId": "edge",
                "connectionModuleId": "m",
                "outputName": "out",
                "contentType": "text/plain",
            },
            "properties": {},
            "bodyBase64": "/wA=",
            "seq": 2,
            "expiresAt": None,
            "enqueuedAt": iso_time(WRITTEN_MS),
        },
    ]


def test_export_replaces_a_file_when_all_is_written(run: Run, store: StoreFiles, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("before")
    result = run("export", "$upstream", store.folder, "--output", output)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"edgehub: 2 messages written to {output}\n"
    assert [line["seq"] for line in lines(output.read_text())] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["messages", "out.jsonl"]


def test_an_export_that_fails_leaves_the_file_and_nothing_else(
    run: Run, store: StoreFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    output = tmp_path / "out.jsonl"
    output.write_text("before")
    monkeypatch.setattr("os.fsync", fail)
    result = run("export", "iothub", store.folder, "--output", output)
    assert (result.exit_code, result.stderr) == (1, f"edgehub: {output}: No space left on device\n")
    assert output.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["messages", "out.jsonl"]


def test_peek_shows_the_next_ones(run: Run, store: StoreFiles) -> None:
    store.append([3], encoded_message(b"body\x1b[31m" + b"x" * 300, properties={"a\n": "b"}))
    shown = run("peek", "edge/filter/in:7", store.folder).stdout
    assert shown.startswith("#0, expires never\n  from /messages/ at 2023-")
    assert "  a\\n = b\n" in shown
    assert "body\\x1b[31m" in shown
    assert shown.endswith("xxx... (309 characters)\n")
    assert [
        line["seq"] for line in lines(run("peek", "iothub", store.folder, "--json", "--count", 1).stdout)
    ] == [1]


def test_a_payload_that_is_no_message_is_given_as_it_is(run: Run, store: StoreFiles) -> None:
    store.append([3], b"\x09nonsense")
    [line] = lines(run("export", "edge/filter/in:7", store.folder).stdout)
    assert (line["error"], b64decode(line["payloadBase64"])) == (
        "message layout 9; known is 1",
        b"\x09nonsense",
    )
    assert "no message: message layout 9" in run("peek", "edge/filter/in:7", store.folder).stdout


@pytest.mark.parametrize("command", ["peek", "export"])
@pytest.mark.parametrize(
    ("queue", "text"),
    [
        ("nobody", "no queue 'nobody'; there are iothub, edge/filter/in:5, edge/filter/in:7"),
        ("edge/filter/in", "has several priorities; choose one of edge/filter/in:5, edge/filter/in:7"),
        ("edge/filter/in:6", "no queue 'edge/filter/in:6'"),
    ],
)
def test_a_queue_that_is_not_there(run: Run, store: StoreFiles, command: str, queue: str, text: str) -> None:
    result = run(command, queue, store.folder)
    assert (result.exit_code, result.stdout) == (1, "")
    assert text in result.stderr


def test_a_message_that_went_bad_meanwhile_is_left_out(
    run: Run, store: StoreFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spoiling:
        """Looks, then has the file damaged."""

        def __new__(cls, folder: Path, *, verify: bool) -> Any:
            inspector = StoreInspector(folder, verify=verify)
            content = bytearray(store.content)
            content[content.index(b"one")] ^= 1
            store.path.write_bytes(content)
            return inspector

    monkeypatch.setattr("edgehub._core.StoreInspector", Spoiling)
    result = run("export", "iothub", store.folder)
    assert result.exit_code == 1
    assert "message 1 of queue 1 cannot be read any more" in result.stderr
    assert [line["seq"] for line in lines(result.stdout)] == [2]


def test_the_inspector_as_a_library(store: StoreFiles) -> None:
    inspector = StoreInspector(store.folder)
    assert repr(inspector.queues()[0]) == 'StoreQueue(1, "iothub", priority=0, messages=2)'
    assert repr(inspector.segments()[0]).startswith('StoreSegment("journal-000000000001.seg", "last"')
    assert (inspector.batches, inspector.missed, inspector.findings_more) == (7, 0, 0)
    peeked = inspector.peek(1, 1)
    assert peeked.__length_hint__() == 1
    assert [repr(message) for message in peeked] == [
        f"StoredMessage(seq=1, {len(encoded_message(b'one', properties={'unit': '°C', 'null': None}))} bytes)"
    ]
    with pytest.raises(KeyError, match="no queue 9"):
        inspector.export(9)
