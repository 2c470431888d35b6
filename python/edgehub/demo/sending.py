"""Sending with the SDK in order and several at a time; shared by the devices and the filter.

The SDK's asynchronous client hands every call to the loop's thread pool, where calls that are made together
may overtake each other. A pool of one thread keeps them in the order in which they were made, so a window of
messages can be on the way and order still means something. The SDK itself is as it comes from PyPI.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from edgehub.demo.errors import MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from azure.iot.device import Message

    from edgehub.demo.journal import JournalWriter

CONNECTION_STRING_VARIABLE: Final = "EDGEHUB_DEMO_CONNECTION_STRING"
"""Environment variable with the connection string: arguments are visible to every user of the machine."""
SDK_DISTRIBUTION: Final = "azure-iot-device"
WINDOW: Final = 16
"""Messages that may wait for their acknowledgement; a further one waits."""
FLUSH_S: Final = 10.0
"""Time for the last acknowledgements after the process was asked to end."""

log = logging.getLogger(__name__)


def new_message(text: str, message_id: str, properties: dict[str, str]) -> Message:
    """A JSON message of the SDK."""
    from azure.iot.device import Message  # noqa: PLC0415 - takes half a second, and only children need it

    make: Callable[..., Message] = Message  # the SDK's initialiser has no annotations
    message = make(text, message_id=message_id, content_encoding="utf-8", content_type="application/json")
    message.custom_properties.update(properties)
    return message


class WindowedSender:
    """Begins sends in order, and writes begun and acknowledged ones into the journal."""

    def __init__(self, journal: JournalWriter, now_s: Callable[[], float], window: int = WINDOW) -> None:
        self._journal = journal
        self._now_s = now_s
        self._room = asyncio.Semaphore(window)
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, message_id: str, call: Callable[[], Awaitable[None]], **noted: object) -> None:
        """Begins one send, once there is room in the window.

        :param call: sends; returns when the hub has acknowledged.
        :param noted: written into the journal with the beginning.
        """
        await self._room.acquire()
        self._journal.write(begun=message_id, at_ms=self._now_ms(), **noted)
        task = asyncio.create_task(self._finish(message_id, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def flush(self, timeout_s: float = FLUSH_S) -> None:
        """Waits for the acknowledgements that are still missing."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    async def _finish(self, message_id: str, call: Callable[[], Awaitable[None]]) -> None:
        try:
            await call()
        except Exception as error:
            # Whatever the SDK raises, the message is unconfirmed.
            log.warning("%s was not acknowledged: %s", message_id, error)
            self._journal.write(failed=message_id, error=str(error))
        else:
            self._journal.write(acked=message_id, at_ms=self._now_ms())
        finally:
            self._room.release()

    def _now_ms(self) -> float:
        return round(self._now_s() * 1000, 1)


def run_child(body: Callable[[str, str, asyncio.Event], Awaitable[None]], authority: Path) -> int:
    """Runs a child process until SIGTERM.

    :param body: gets connection string, PEM text of the trusted authority, and the event that asks to end.
    :param authority: PEM file.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    connection_string = os.environ.get(CONNECTION_STRING_VARIABLE)
    if not connection_string:
        sys.stderr.write(f"{CONNECTION_STRING_VARIABLE} is not set\n")
        return 2
    try:
        import azure.iot.device  # noqa: F401, PLC0415
    except ImportError:
        sys.stderr.write(f"{MissingPackageError(SDK_DISTRIBUTION)}\n")
        return 1
    asyncio.run(_until_terminated(body, connection_string, authority.read_text()))
    return 0


async def _until_terminated(
    body: Callable[[str, str, asyncio.Event], Awaitable[None]], connection_string: str, authority_pem: str
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.set_default_executor(ThreadPoolExecutor(max_workers=1, thread_name_prefix="in-order"))
    await body(connection_string, authority_pem, stop)
