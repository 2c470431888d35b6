"""Devices that never give up: each keeps a window of messages in flight, reconnects when the hub is gone and
sends again, in order, what was not acknowledged. Runs until SIGTERM, then until everything is acknowledged.

Arguments: host, port, JSON file with `[{"identity", "username", "password"}]`, folder for the ledgers. The
ledger of a device has one line per acknowledged message, its number.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import OrderedDict
from pathlib import Path

from testkit.wire import CONNACK, PUBACK, WireClient, connect_packet, packet, publish_packet

WINDOW = 20
RETRY_S = 0.05
GIVE_UP_S = 60.0
BODY_BYTES = 200


class Device(threading.Thread):
    """One device and its ledger."""

    def __init__(
        self, host: str, port: int, login: dict[str, str], folder: Path, stop: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self._host, self._port, self._login, self._ending = host, port, login, stop
        self._topic = f"devices/{login['identity']}/messages/events/"
        self._ledger = (folder / login["identity"]).open("w", buffering=1)
        self._waiting: OrderedDict[int, None] = OrderedDict()
        self._next = 1
        self._give_up_at = float("inf")

    def run(self) -> None:
        """Until told to stop and nothing waits."""
        while not self._finished():
            try:
                with WireClient(self._port, host=self._host) as client:
                    self._session(client)
            except (OSError, AssertionError):
                time.sleep(RETRY_S)

    def _finished(self) -> bool:
        if self._ending.is_set():
            self._give_up_at = min(self._give_up_at, time.monotonic() + GIVE_UP_S)
        return self._ending.is_set() and (not self._waiting or time.monotonic() > self._give_up_at)

    def _session(self, client: WireClient) -> None:
        client.send(connect_packet(self._login["identity"], self._login["username"], self._login["password"]))
        assert client.expect(CONNACK).code == 0
        for number in self._waiting:
            self._publish(client, number)
        while not self._finished():
            while len(self._waiting) < WINDOW and not self._ending.is_set():
                number, self._next = self._next, self._next + 1
                self._waiting[number] = None
                self._publish(client, number)
            acked = client.expect(PUBACK).acked
            number = next(number for number in self._waiting if number % 65535 + 1 == acked)
            del self._waiting[number]
            self._ledger.write(f"{number}\n")
        client.send(packet(14, b""))

    def _publish(self, client: WireClient, number: int) -> None:
        body = json.dumps({"number": number}).encode().ljust(BODY_BYTES)
        client.send(publish_packet(self._topic, body, number % 65535 + 1))


def main(host: str, port: int, logins: Path, folder: Path) -> int:
    """All devices; 1 when one could not finish."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    devices = [Device(host, port, login, folder, stop) for login in json.loads(logins.read_text())]
    for device in devices:
        device.start()
    stop.wait()
    for device in devices:
        device.join(GIVE_UP_S + 5)
    return int(any(device.is_alive() for device in devices))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])))
