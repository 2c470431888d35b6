"""The filter module: marks readings outside of the usual range and sums up every second. Runs as a process.

`python -m edgehub.demo.filter_module --low 4.4 --high 19.5 --journal FILE --authority FILE`

Every reading goes out again with the property `temperatureAlert`, `true` or `false`; which of them leave the
gateway is not decided here but by the hub's route and its `WHERE`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from edgehub.demo.ids import (
    ALERT_PROPERTY,
    MODULE_INPUT,
    READINGS_OUTPUT,
    SUMMARY_OUTPUT,
    SUMMARY_STREAM,
    message_id,
)
from edgehub.demo.journal import JournalWriter
from edgehub.demo.sending import WindowedSender, new_message, run_child
from edgehub.demo.summary import Summary

if TYPE_CHECKING:
    from azure.iot.device import Message

LOW_C: Final = 4.4
HIGH_C: Final = 19.5
"""Water this cold or this warm is worth an alert. The buoy's year reaches from 3.6 to 22.2 degrees."""
WAITING_MAX: Final = 100_000
"""Received messages that wait to be sent on. The SDK acknowledges before the module sees a message, so the
module must take what comes; beyond this it ends with an error instead of growing without limit."""
SUMMARY_EVERY_S: Final = 1.0


class OutputClient(Protocol):
    """The part of the SDK's module client that sends."""

    async def send_message_to_output(self, message: Message, output_name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Received:
    """One reading as it came in."""

    message_id: str
    body: str
    sensor: str
    temperature_c: float


@dataclass(frozen=True, slots=True)
class Limits:
    """The usual range, without its ends, in degrees Celsius."""

    low_c: float = LOW_C
    high_c: float = HIGH_C


def read_message(text_id: str, body: str) -> Received | None:
    """A reading from a message; None when the body is not one."""
    try:
        content = json.loads(body)
        return Received(text_id, body, str(content["sensor"]), float(content["temperatureC"]))
    except (ValueError, KeyError, TypeError):
        return None


def is_alert(reading: Received, limits: Limits) -> bool:
    """Whether a reading is worth sending to the cloud."""
    return not limits.low_c < reading.temperature_c < limits.high_c


class Filter:
    """Receives at one input, sends on at two outputs."""

    def __init__(self, limits: Limits, first: int, journal: JournalWriter) -> None:
        self._limits = limits
        self._journal = journal
        self._next_summary = first
        self._waiting: asyncio.Queue[Received | None] = asyncio.Queue(WAITING_MAX)
        self._overflowed = False
        self._summary = Summary()

    async def run(self, connection_string: str, authority_pem: str, stop: asyncio.Event) -> None:
        from azure.iot.device.aio import IoTHubModuleClient  # noqa: PLC0415 - see `run_child`

        loop = asyncio.get_running_loop()
        client = IoTHubModuleClient.create_from_connection_string(
            connection_string, server_verification_cert=authority_pem
        )

        async def on_message(message: Message) -> None:
            # Called on a loop of the SDK, one after the other; a coroutine function keeps their order,
            # a plain function would be run by four threads.
            loop.call_soon_threadsafe(self._accept, message)

        await client.connect()
        client.on_message_received = on_message
        self._journal.write(connected=True)
        sender = WindowedSender(self._journal, time.time)
        async with asyncio.TaskGroup() as jobs:
            jobs.create_task(self._send_on(client, sender))
            jobs.create_task(self._sum_up(client, sender, stop))
            jobs.create_task(self._close(stop))
        await self._send_summary(client, sender)
        await sender.flush()
        await client.shutdown()
        self._journal.write(ended=True)

    def _accept(self, message: Message) -> None:
        body = message.data.decode() if isinstance(message.data, bytes) else str(message.data)
        reading = read_message(str(message.message_id), body)
        if message.input_name != MODULE_INPUT or reading is None:
            self._journal.write(ignored=str(message.message_id), input=message.input_name)
            return
        self._journal.write(received=reading.message_id)
        if self._waiting.full():
            self._overflowed = True
            return
        self._waiting.put_nowait(reading)

    async def _close(self, stop: asyncio.Event) -> None:
        """What was received before the end was asked for is still sent on."""
        await stop.wait()
        await self._waiting.put(None)

    async def _send_on(self, client: OutputClient, sender: WindowedSender) -> None:
        while (reading := await self._waiting.get()) is not None:
            if self._overflowed:
                raise RuntimeError(f"more than {WAITING_MAX} messages waited to be sent on")
            await self._send_reading(client, sender, reading)

    async def _send_reading(self, client: OutputClient, sender: WindowedSender, reading: Received) -> None:
        alert = is_alert(reading, self._limits)
        self._summary.add(reading.sensor, reading.temperature_c)
        message = new_message(
            reading.body, reading.message_id, {ALERT_PROPERTY: "true" if alert else "false"}
        )
        await sender.send(
            reading.message_id, partial(client.send_message_to_output, message, READINGS_OUTPUT), alert=alert
        )

    async def _sum_up(self, client: OutputClient, sender: WindowedSender, stop: asyncio.Event) -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SUMMARY_EVERY_S):
                    await stop.wait()
            await self._send_summary(client, sender)

    async def _send_summary(self, client: OutputClient, sender: WindowedSender) -> None:
        body = self._summary.take()
        if body is None:
            return
        text = message_id(SUMMARY_STREAM, self._next_summary)
        self._next_summary += 1
        message = new_message(body, text, {})
        await sender.send(text, partial(client.send_message_to_output, message, SUMMARY_OUTPUT))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="edgehub.demo.filter_module", description=__doc__)
    parser.add_argument("--low", type=float, default=LOW_C, help="alert at or below, degrees Celsius")
    parser.add_argument("--high", type=float, default=HIGH_C, help="alert at or above, degrees Celsius")
    parser.add_argument("--first", type=int, default=1, help="number of the first summary")
    parser.add_argument("--journal", type=Path, required=True, help="JSON-lines file to append to")
    parser.add_argument("--authority", type=Path, required=True, help="PEM file of the trusted authority")
    options = parser.parse_args(argv)
    with JournalWriter(options.journal) as journal:
        # The queue and the events of the filter need no running loop to be made (Python 3.10 and later).
        module = Filter(Limits(options.low, options.high), options.first, journal)
        return run_child(module.run, options.authority)


if __name__ == "__main__":
    raise SystemExit(main())
