"""busy.py against a hub that is a few lines long."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from comparison import busy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_packet(stream: Any) -> tuple[int, bytes]:
    """A packet of less than 16 KiB."""
    kind, length, shift = stream.read(1), 0, 0
    while kind:
        digit = stream.read(1)[0]
        length |= (digit & 127) << shift
        shift += 7
        if digit < 128:
            break
    return (kind[0], stream.read(length)) if kind else (0, b"")


def serve(listener: socket.socket, connack: bytes) -> None:
    """Answers one client: CONNACK, SUBACK, a stray message, and 204 to each twin request."""
    try:
        connection, _ = listener.accept()
    except OSError:  # Nobody came before the test was over.
        return
    # A client that leaves without reading everything resets the connection.
    with contextlib.suppress(ConnectionError), connection, connection.makefile("rb") as stream:
        while True:
            kind, body = read_packet(stream)
            if kind == busy.CONNECT:
                connection.sendall(connack)
            elif kind == busy.SUBSCRIBE:
                connection.sendall(bytes([busy.SUBACK, 3, 0, 1, 0]))
            elif kind == busy.PUBLISH:
                topic = body[2 : 2 + int.from_bytes(body[:2], "big")].decode()
                rid = topic.partition("$rid=")[2]
                connection.sendall(busy.packet(busy.PUBLISH, busy.text("other/topic")))
                connection.sendall(busy.packet(busy.PUBLISH, busy.text(f"$iothub/twin/res/204/?$rid={rid}")))
            else:
                return


@pytest.fixture
def hub() -> Iterator[dict[str, Any]]:
    """What the control file says of it."""
    metrics = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=metrics.serve_forever, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener, b"\x20\x02\0\0"), daemon=True).start()
        yield {
            "host": "127.0.0.1",
            "port": listener.getsockname()[1],
            "client_id": "d",
            "username": "u",
            "password": "p",
            "metrics_url": f"http://127.0.0.1:{metrics.server_port}/",
        }
        # Wakes who still accepts; closing alone does not.
        listener.shutdown(socket.SHUT_RDWR)
    metrics.shutdown()
    metrics.server_close()


def test_requests_are_made_until_told_to_end(hub: dict[str, Any]) -> None:
    turns = iter([False] * 5)
    found = busy.be_busy(hub, lambda _: next(turns, True))
    assert (found["twin_requests"], found["twin_answers"]) == (5, {"204": 5})


def test_metrics_that_cannot_be_fetched_are_told(
    hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(busy, "SCRAPE_EVERY_S", 0.0)
    ended = iter([False] * 20)
    with pytest.raises(busy.BusyError, match="Connection refused"):
        busy.be_busy({**hub, "metrics_url": "http://127.0.0.1:1/"}, lambda _: next(ended, True))


def test_a_refused_client_is_told(hub: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener, b"\x20\x02\0\5"), daemon=True).start()
        with pytest.raises(busy.BusyError, match="CONNECT was answered"):
            busy.TwinClient({**hub, "port": listener.getsockname()[1]})


def test_as_a_process_beside_a_run(hub: dict[str, Any], tmp_path: Path) -> None:
    control = tmp_path / "control.json"
    control.write_text(json.dumps(hub))
    with busy.kept_busy([sys.executable], control) as found:
        assert found == {}
    assert "error" not in found
    assert found["twin_answers"].keys() <= {"204"}


def test_what_went_wrong_is_in_the_result(hub: dict[str, Any], tmp_path: Path) -> None:
    control = tmp_path / "control.json"
    control.write_text(json.dumps({**hub, "port": 1}))
    with busy.kept_busy([sys.executable], control) as found:
        pass
    assert "Connection refused" in found["error"]


def test_requests_take_turns_between_the_whole_twin_and_reported_properties() -> None:
    assert b"$iothub/twin/GET/?$rid=2" in busy.request_packet(2)
    patch = busy.request_packet(301)
    assert b"$iothub/twin/PATCH/properties/reported/?$rid=301" in patch
    assert patch[1] & 0x80, "longer than 127 bytes: two bytes of length"


@pytest.mark.parametrize(
    ("topic", "status"),
    [("$iothub/twin/res/200/?$rid=1", "200"), ("devices/d/x", None), ("$iothub/twin/res", None)],
)
def test_answers_are_known_by_their_topic(topic: str, status: str | None) -> None:
    assert busy.answer_status(busy.text(topic) + b"{}") == status
