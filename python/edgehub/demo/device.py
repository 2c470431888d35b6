"""A leaf device: replays one sensor's readings with the unmodified device SDK. Runs as a process.

`python -m edgehub.demo.device --sensor b01summer --rate 50 --journal FILE --authority FILE`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgehub.demo.ids import message_id
from edgehub.demo.journal import JournalWriter
from edgehub.demo.readings import SENSORS, Reading, read_sensor, replay
from edgehub.demo.sending import WindowedSender, new_message, run_child

if TYPE_CHECKING:
    from collections.abc import Iterator


def reading_body(sensor: str, reading: Reading) -> str:
    """The body of one message."""
    time_text = reading.time.strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps({"sensor": sensor, "time": time_text, "temperatureC": reading.temperature_c})


def due_s(started_s: float, number: int, rate: float) -> float:
    """When message `number`, counted from 1, is due; without drift, whatever the earlier ones took."""
    return started_s + (number - 1) / rate


class Device:
    """Sends readings at a steady rate until it is asked to end.

    :param first: number of the first message.
    """

    def __init__(
        self, sensor: str, rate: float, first: int, readings: Iterator[Reading], journal: JournalWriter
    ) -> None:
        self._sensor = sensor
        self._rate = rate
        self._first = first
        self._readings = readings
        self._journal = journal

    async def run(self, connection_string: str, authority_pem: str, stop: asyncio.Event) -> None:
        from azure.iot.device.aio import IoTHubDeviceClient  # noqa: PLC0415 - see `run_child`

        client = IoTHubDeviceClient.create_from_connection_string(
            connection_string, server_verification_cert=authority_pem
        )
        await client.connect()
        self._journal.write(connected=True)
        sender = WindowedSender(self._journal, time.time)
        started_s = time.monotonic()
        number = 0
        while not stop.is_set():
            number += 1
            if await _stopped_before(stop, due_s(started_s, number, self._rate) - time.monotonic()):
                break
            text = message_id(self._sensor, self._first + number - 1)
            message = new_message(reading_body(self._sensor, next(self._readings)), text, {})
            await sender.send(text, partial(client.send_message, message))
        await sender.flush()
        await client.shutdown()
        self._journal.write(ended=True)


async def _stopped_before(stop: asyncio.Event, timeout_s: float) -> bool:
    if timeout_s <= 0:
        return stop.is_set()
    try:
        async with asyncio.timeout(timeout_s):
            await stop.wait()
    except TimeoutError:
        return False
    return True


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="edgehub.demo.device", description=__doc__)
    parser.add_argument("--sensor", choices=sorted(SENSORS), required=True)
    parser.add_argument("--rate", type=float, required=True, help="messages per second")
    parser.add_argument("--first", type=int, default=1, help="number of the first message")
    parser.add_argument("--journal", type=Path, required=True, help="JSON-lines file to append to")
    parser.add_argument("--authority", type=Path, required=True, help="PEM file of the trusted authority")
    options = parser.parse_args(argv)
    readings = replay(read_sensor(options.sensor), options.first - 1)
    with JournalWriter(options.journal) as journal:
        device = Device(options.sensor, options.rate, options.first, readings, journal)
        return run_child(device.run, options.authority)


if __name__ == "__main__":
    raise SystemExit(main())
