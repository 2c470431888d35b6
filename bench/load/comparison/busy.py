#!/usr/bin/env python3
"""Keep the control plane of a hub busy: twin requests of a client, and scrapes of the metrics.

A process of its own on the load's core, where it takes only what the generator leaves: otherwise its own work
would show in the latencies that the generator measures. Started by compare.py with a JSON file that has
`host`, `port`, `client_id`, `username`, `password` and `metrics_url`. It ends when its standard input does,
and then prints what it has done as JSON. Standard library only.

Example:
  busy.py control.json < /dev/null
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TWIN_PER_S = 50
SCRAPE_EVERY_S = 1.0
ANSWER_LIMIT_S = 10.0
END_LIMIT_S = 30.0
REPORTED = {"firmware": "1.2.3", "intervals": {"fast": 1, "slow": 60}, "note": "busy " * 10}
ANSWERS = "$iothub/twin/res/#"
CONNECT, CONNACK, PUBLISH, SUBSCRIBE, SUBACK = 0x10, 0x20, 0x30, 0x82, 0x90


class BusyError(Exception):
    """The hub refused the client or did not answer."""


def text(value: str) -> bytes:
    """A string as MQTT writes it."""
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def packet(kind: int, body: bytes) -> bytes:
    """A packet with its length."""
    length, size = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        size.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([kind]) + bytes(size) + body


def connect_packet(login: Mapping[str, Any]) -> bytes:
    """CONNECT with user name and password, clean session, no keep alive."""
    fixed = text("MQTT") + bytes([4, 0b1100_0010, 0, 0])
    return packet(
        CONNECT, fixed + text(login["client_id"]) + text(login["username"]) + text(login["password"])
    )


def request_packet(number: int) -> bytes:
    """A twin request with QoS 0: reported properties and the whole twin in turns."""
    if number % 2:
        body = json.dumps({**REPORTED, "count": number}).encode()
        return packet(PUBLISH, text(f"$iothub/twin/PATCH/properties/reported/?$rid={number}") + body)
    return packet(PUBLISH, text(f"$iothub/twin/GET/?$rid={number}"))


def answer_status(body: bytes) -> str | None:
    """The status in the topic of an answer to a twin request; None for another message."""
    end = 2 + int.from_bytes(body[:2], "big")
    parts = body[2:end].decode(errors="replace").split("/")
    return parts[3] if parts[:3] == ["$iothub", "twin", "res"] and len(parts) > 3 else None


class TwinClient:
    """A client with one twin request under way at a time."""

    def __init__(self, login: Mapping[str, Any]) -> None:
        self._socket = socket.create_connection((login["host"], login["port"]), timeout=ANSWER_LIMIT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rb")
        try:
            self._start(login)
        except BaseException:
            self.close()
            raise

    def _start(self, login: Mapping[str, Any]) -> None:
        self._socket.sendall(connect_packet(login))
        if (answer := self._read())[1][1:2] != b"\0" or answer[0] != CONNACK:
            raise BusyError(f"CONNECT was answered with {answer}")
        self._socket.sendall(packet(SUBSCRIBE, b"\0\1" + text(ANSWERS) + b"\0"))
        if (answer := self._read())[0] != SUBACK:
            raise BusyError(f"SUBSCRIBE was answered with {answer}")

    def request(self, number: int) -> str:
        """Asks and waits; gives the status of the answer.

        Raises:
            OSError: nobody answered in time, or the connection was lost.
        """
        self._socket.sendall(request_packet(number))
        while True:
            kind, body = self._read()
            status = answer_status(body) if kind & 0xF0 == PUBLISH else None
            if status is not None:
                return status

    def close(self) -> None:
        """Leaves without a word."""
        self._stream.close()
        self._socket.close()

    def _read(self) -> tuple[int, bytes]:
        kind, length, shift = self._exactly(1)[0], 0, 0
        while True:
            digit = self._exactly(1)[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if digit < 0x80:
                return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        found = self._stream.read(count)
        if len(found) < count:
            raise ConnectionError("the hub closed the connection")
        return found


class Scraper:
    """Fetches the metrics every second, on a thread of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ended = threading.Event()
        self._problem: OSError | None = None
        self.times_ms: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._ended.wait(SCRAPE_EVERY_S):
                began = time.monotonic()
                with urllib.request.urlopen(self._url, timeout=ANSWER_LIMIT_S) as answer:
                    answer.read()
                self.times_ms.append((time.monotonic() - began) * 1000)
        except OSError as problem:
            self._problem = problem

    def end(self) -> None:
        """Waits for the last answer.

        Raises:
            BusyError: the metrics could not be fetched.
        """
        self._ended.set()
        self._thread.join(2 * ANSWER_LIMIT_S)
        if self._problem is not None:
            raise BusyError(f"{self._url}: {self._problem}")


def be_busy(control: Mapping[str, Any], has_ended: Callable[[float], bool]) -> dict[str, Any]:
    """Requests and scrapes until `has_ended(seconds)`, which waits for so long, is true.

    Raises:
        BusyError: the hub refused the client, or does not show its metrics.
        OSError: it did not answer.
    """
    statuses, twin_ms = Counter[str](), [0.0]
    with contextlib.closing(TwinClient(control)) as client:
        scraper = Scraper(control["metrics_url"])
        began, number = time.monotonic(), 0
        while not has_ended(max(0.0, began + number / TWIN_PER_S - time.monotonic())):
            asked = time.monotonic()
            number += 1
            statuses[client.request(number)] += 1
            twin_ms.append((time.monotonic() - asked) * 1000)
        scraper.end()
    return {
        "seconds": round(time.monotonic() - began, 3),
        "twin_requests": number,
        "twin_answers": dict(statuses),
        "twin_ms_max": round(max(twin_ms), 2),
        "scrapes": len(scraper.times_ms),
        "scrape_ms_max": round(max(scraper.times_ms, default=0.0), 2),
    }


def input_ends_within(seconds: float) -> bool:
    """Waits for so long; true when standard input has ended."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


@contextlib.contextmanager
def kept_busy(command: list[str], control: Path) -> Iterator[dict[str, Any]]:
    """Runs this program while the context is open; its result is in the mapping afterwards.

    Args:
        command: interpreter and pinning, before the name of this program.
    """
    found: dict[str, Any] = {}
    process = subprocess.Popen(
        [*command, __file__, str(control)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield found
        told, problem = process.communicate(timeout=END_LIMIT_S)
        found |= json.loads(told) if process.returncode == 0 else {"error": problem.strip()[-500:]}
    except subprocess.TimeoutExpired:
        found["error"] = f"it did not end within {END_LIMIT_S:g} s"
    finally:
        process.kill()
        process.wait()


def give_way() -> None:
    """Lets every other process of this core come first, on systems that can."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


if __name__ == "__main__":
    give_way()
    sys.stdout.write(json.dumps(be_busy(json.loads(Path(sys.argv[1]).read_text()), input_ends_within)))
