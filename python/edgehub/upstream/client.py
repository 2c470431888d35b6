"""The link to the parent hub on asyncio: connects, keeps connected, carries bytes and timers for
`connection`."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import random
import time
from typing import TYPE_CHECKING, Any, Final, cast

from edgehub.errors import EdgehubError
from edgehub.upstream.backoff import Backoff
from edgehub.upstream.connection import Phase, UpstreamConnection
from edgehub.upstream.connectivity import Connectivity, State
from edgehub.upstream.message_links import MessageLinks
from edgehub.upstream.method_links import MethodLinks
from edgehub.upstream.stats import UpstreamStats
from edgehub.upstream.twin_calls import TwinCalls

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.upstream.errors import UpstreamError
    from edgehub.upstream.message_channel import MessageChannel, ParentMessage
    from edgehub.upstream.method_channel import MethodChannel, MethodRequest
    from edgehub.upstream.settings import UpstreamSettings
    from edgehub.upstream.source import LinkListener, UpstreamSource
    from edgehub.upstream.twin_channel import TwinAnswer

log = logging.getLogger(__name__)

STABLE_S: Final = 10.0
"""A connection that lasted this long resets the waits between attempts."""
REFUSED_WAIT_MAX_S: Final = 5.0
"""A host that refuses connections is there, and what listens on it is about to start: it is asked again after
no more than this, for an attempt costs two packets."""
WRITE_HIGH_BYTES: Final = 512 * 1024
_LINGER_S: Final = 1.0


class _Stream(asyncio.Protocol):
    """The socket of one connection."""

    def __init__(self, client: AmqpUpstream) -> None:
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._may_write = True
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports offer the interface without being its subclasses.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)

    def data_received(self, data: bytes) -> None:
        self._client.on_bytes(self, data)

    def eof_received(self) -> bool:
        self._client.on_eof(self)
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        self.gone.set()
        self._client.on_eof(self)

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._client.flush()

    @property
    def may_write(self) -> bool:
        return self._may_write and self._transport is not None and not self._transport.is_closing()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    async def close(self) -> None:
        """Sends what is written, waits a moment for the other side, then cuts."""
        if self._transport is None:
            return
        self._transport.close()
        try:
            async with asyncio.timeout(_LINGER_S):
                await self.gone.wait()
        except TimeoutError:
            self._transport.abort()


class AmqpUpstream:
    """The link. Use from one event loop.

    :param random_source: numbers in [0, 1) for jitter.
    """

    def __init__(
        self,
        settings: UpstreamSettings,
        source: UpstreamSource,
        stats: UpstreamStats | None = None,
        *,
        random_source: Callable[[], float] = random.random,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._source = source
        self.stats = stats or UpstreamStats()
        self._random = random_source
        self._wall = wall
        self._loop = asyncio.get_running_loop()
        self._connectivity = Connectivity(settings.connectivity_check_s)
        self._backoff = Backoff(settings.reconnect_min_s, settings.reconnect_max_s, random_source)
        self._listener: LinkListener | None = None
        self._connection: UpstreamConnection | None = None
        self._stream: _Stream | None = None
        self._closed = asyncio.Event()
        self._kicked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._token_task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._pump_queued = False
        self._refused = False
        self._draining = False
        self._drained = asyncio.Event()
        self.twins = TwinCalls(
            lambda: self._connection, self.flush, settings.identity, settings.twin_requests_max
        )
        self.methods = MethodLinks(lambda: self._connection, self.flush)
        self.messages = MessageLinks(lambda: self._connection, self.flush)
        self.stats.offline(self._loop.time())

    # ---- for the hub

    def set_listener(self, listener: LinkListener) -> None:
        """Whom to tell; before `start`."""
        self._listener = listener

    @property
    def state(self) -> State:
        """Whether the parent can be reached."""
        return self._connectivity.state

    async def start(self) -> None:
        """Starts connecting in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="upstream")

    async def stop(self) -> None:
        """Lets what is in flight finish for `drain_s`, then disconnects. Idempotent."""
        connection = self._connection
        if connection is not None and connection.phase is Phase.UP:
            connection.pool.drain()
            self._draining = True
            self._drained.clear()
            self.flush()
            try:
                async with asyncio.timeout(self._settings.drain_s):
                    await self._drained.wait()
            except TimeoutError:
                log.warning("%d batches were still under way to the parent hub", connection.pool.in_flight)
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.methods.stop()
        await self.messages.stop()

    def messages_ready(self) -> None:
        """There may be messages to take; cheap, call as often as you like."""
        if not self._pump_queued and self._connection is not None:
            self._pump_queued = True
            self._loop.call_soon(self._pump)

    def kick(self) -> None:
        """The network or the scope has changed: connects at once, and ends the waits of refused senders."""
        self._kicked.set()
        self._backoff.reset()
        if self._connection is not None and self._connection.phase is Phase.UP:
            self._connection.pool.release_held()
            self.messages_ready()

    # ---- connecting

    async def _run(self) -> None:
        before = ""
        try:
            while True:
                links = self.stats.connects
                reason = await self._connect_and_serve()
                log.log(
                    logging.DEBUG if reason == before else logging.INFO,
                    "no link to the parent hub: %s",
                    reason,
                )
                before = reason
                if self.stats.connects > links:
                    # A link refers to itself in circles, and has proton's buffers behind it: a megabyte that
                    # would stay, for each link lost, until a full collection happens to come.
                    gc.collect()
                await self._wait_before_retry()
        finally:
            if self._token_task is not None:
                self._token_task.cancel()

    async def _wait_before_retry(self) -> None:
        wait_s = self._backoff.next_s(REFUSED_WAIT_MAX_S if self._refused else math.inf)
        try:
            async with asyncio.timeout(wait_s):
                await self._kicked.wait()
        except TimeoutError:
            pass
        self._kicked.clear()

    async def _connect_and_serve(self) -> str:
        """One connection from start to end; gives why it ended."""
        settings = self._settings
        self._closed.clear()
        self._refused = False
        stream = _Stream(self)
        tls_name = settings.host if settings.tls is not None else None
        try:
            async with asyncio.timeout(settings.operation_timeout_s):
                token = await settings.tokens.get()
                await self._loop.create_connection(
                    lambda: stream, settings.host, settings.port, ssl=settings.tls, server_hostname=tls_name
                )
        except (OSError, EdgehubError) as error:
            self.stats.connects_failed += 1
            self._refused = isinstance(error, ConnectionRefusedError)
            if isinstance(error, TimeoutError) and not error.args:
                return f"{settings.host}:{settings.port} does not answer"
            return f"{settings.host}:{settings.port}: {error}"
        connection = UpstreamConnection(
            settings, self._source, self.stats, self._connectivity, self, token,
            now=self._loop.time(), wall=self._wall(), random=self._random,
        )  # fmt: skip
        self._connection, self._stream = connection, stream
        return await self._serve(connection, stream)

    async def _serve(self, connection: UpstreamConnection, stream: _Stream) -> str:
        started = self._loop.time()
        try:
            self.flush()
            await self._closed.wait()
        finally:
            connection.close("the hub is stopping")
            self._end(connection, stream)
            await stream.close()
        if self._loop.time() - started >= STABLE_S:
            self._backoff.reset()
        return connection.closed_reason or "closed"

    def _end(self, connection: UpstreamConnection, stream: _Stream) -> None:
        """The connection is over: nothing of it may reach the next one."""
        out = connection.outbound()
        if out and stream.may_write:
            stream.write(out)
        self._cancel_timer()
        self._connection = self._stream = None
        self._drained.set()
        self._source.link_down()
        self._connectivity.on_lost()
        if not connection.was_up:
            self.stats.connects_failed += 1
            return
        self.stats.offline(self._loop.time())
        self.stats.offline_count += 1
        if self._listener is not None:
            self._listener.link_down(connection.closed_reason or "closed")

    # ---- word from the connection

    def connection_up(self) -> None:
        """Authenticated."""
        self.stats.connects += 1
        self.stats.online(self._loop.time())
        if self._connection is not None:
            self.twins.connection_up(self._connection)
            self.methods.connection_up(self._connection)
            self.messages.connection_up(self._connection)
        if self._listener is not None:
            self._listener.link_up()

    def token_wanted(self, *, refused: bool) -> None:
        """Gets a token in the background and puts it."""
        if refused:
            self._settings.tokens.drop()
        if self._token_task is None or self._token_task.done():
            self._token_task = asyncio.create_task(self._renew_token(), name="upstream token")

    async def _renew_token(self) -> None:
        """Tries until a token is there or the connection is gone: the old token lasts a while yet."""
        backoff = Backoff(self._settings.hold_min_s, self._settings.hold_max_s, self._random)
        connection = self._connection
        while connection is not None and connection.phase is not Phase.CLOSED:
            try:
                token = await self._settings.tokens.get()
            except (OSError, EdgehubError) as error:
                log.warning("cannot renew the token for the parent hub: %s", error)
                await asyncio.sleep(backoff.next_s())
                continue
            connection.put_token(token, self._loop.time(), self._wall())
            self.flush()
            return

    def client_unauthorized(self, identity: str) -> None:
        """The parent refuses an identity."""
        if self._listener is not None:
            self._listener.client_unauthorized(identity)

    def twin_done(self, request: int, result: TwinAnswer | UpstreamError) -> None:
        """A twin request ended."""
        self.twins.done(request, result)

    def method_request(self, channel: MethodChannel, request: MethodRequest) -> None:
        """The parent calls a method."""
        self.methods.requested(channel, request)

    def cloud_message(self, channel: MessageChannel, message: ParentMessage) -> None:
        """The parent has a message for a device that is followed."""
        self.messages.received(channel, message)

    def desired_patch(self, identity: str, patch: dict[str, Any]) -> None:
        """Desired properties of an identity that is followed changed."""
        if self._listener is not None:
            self._listener.desired_patch(identity, patch)

    def desired_missed(self, identity: str) -> None:
        """Desired properties of an identity that is followed may have changed unseen."""
        if self._listener is not None:
            self._listener.desired_missed(identity)

    # ---- bytes and time

    def on_bytes(self, stream: _Stream, data: bytes) -> None:
        """From the socket."""
        if self._connection is not None and stream is self._stream:
            self._connection.feed(data, self._loop.time())
            self.flush()

    def on_eof(self, stream: _Stream) -> None:
        """From the socket: nothing more comes."""
        if self._connection is not None and stream is self._stream:
            self._connection.feed_eof(self._loop.time())
            self._closed.set()

    def _pump(self) -> None:
        self._pump_queued = False
        if self._connection is not None:
            self._connection.pump(self._loop.time())
            self.flush()

    def flush(self) -> None:
        """Writes what there is, looks whether the connection has ended, sets the timer."""
        connection, stream = self._connection, self._stream
        if connection is None or stream is None:
            return
        if stream.may_write:
            out = connection.outbound()
            if out:
                stream.write(out)
        if connection.phase is Phase.CLOSED or connection.engine.finished:
            self._closed.set()
        if self._draining and (self._closed.is_set() or not connection.pool.in_flight):
            self._drained.set()
        self._arm(connection)

    def _arm(self, connection: UpstreamConnection) -> None:
        deadline = connection.deadline()
        if deadline is None:
            self._cancel_timer()
            return
        if self._timer is not None and self._timer_at <= deadline:
            return
        self._cancel_timer()
        self._timer_at = deadline
        self._timer = self._loop.call_at(deadline, self._on_timer)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        if self._connection is not None:
            self._connection.on_deadline(self._loop.time())
            self.flush()
