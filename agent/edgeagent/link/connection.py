"""One MQTT connection, driven by the running loop: paho-mqtt for the protocol, our own sockets below it.

paho is used through what its versions 1.6 to 2.2 have in common. Two things are different from its manual.
The socket, TLS and proxy included, is opened by :class:`~edgeagent.link.sockets.SocketOpener`, which closes
what failed and can be told to give up. And whether something waits to be written is asked after each call
instead of being told by callbacks, of which the connecting thread would give some.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edgeagent.link.errors import (
    ConnectError,
    LinkBusyError,
    LinkDownError,
    LinkSettingsError,
    RequestRefusedError,
)
from edgeagent.link.settings import UpstreamProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeagent.link.sockets import SocketOpener

WEBSOCKET_PATH: Final = "/$iothub/websocket"
MISC_PERIOD_S: Final = 5.0
"""How often keep alive is looked after."""
READS_PER_TURN: Final = 100
"""Packets read before others on the loop have a turn."""
ACKS_MAX: Final = 20
"""Subscriptions and messages that wait for their acknowledgement; beyond, they are refused."""
_REFUSED: Final = {4: "bad user name or token", 5: "not authorized"}
_SAME_AS: Final = {132: 1, 133: 2, 136: 3, 134: 4, 135: 5}
"""What paho 2 makes of the codes of CONNACK."""
_SUBACK_FAILURE: Final = 0x80

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Login:
    """Who connects."""

    client_id: str
    user_name: str
    token: str = field(repr=False)
    keep_alive_s: int = 60


class MqttConnection:
    """From CONNECT to the end; used once. To be used on the running loop alone.

    :param received: told of each publish: topic and body.
    :param ended: told once why an open connection ended by itself.
    """

    def __init__(
        self,
        opener: SocketOpener,
        address: tuple[str, int],
        protocol: UpstreamProtocol,
        received: Callable[[str, bytes], None],
        ended: Callable[[str], None],
    ) -> None:
        self._opener = opener
        self._address = address
        self._protocol = protocol
        self._received = received
        self._ended = ended
        self._client: Any = None
        self._loop = asyncio.get_running_loop()
        self._connack: asyncio.Future[int] = self._loop.create_future()
        self._acks: dict[int, asyncio.Future[int]] = {}
        self._misc: asyncio.TimerHandle | None = None
        self._descriptor: int | None = None
        self._writing = False
        self._closed = False

    async def open(self, login: Login) -> None:
        """Connects and waits for the hub's word; the deadline is the caller's.

        :raises ConnectError: no connection, or refused.
        """
        self._client = self._make_client(login)
        await self._connect(login.keep_alive_s)
        self._attach()
        told = await self._connack
        code = _SAME_AS.get(told, told)
        if code:
            reason = _REFUSED.get(code, f"code {code}")
            raise ConnectError(f"the hub refused the connection: {reason}", refused=code in _REFUSED)

    def _make_client(self, login: Login) -> Any:
        client = _client_class()(self._opener, login.client_id, self._protocol)
        client.username_pw_set(login.user_name, login.token)
        if self._protocol is UpstreamProtocol.MQTT_WS:
            client.ws_set_options(path=WEBSOCKET_PATH)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_socket_close = lambda *_: self._detach()
        return client

    async def _connect(self, keep_alive_s: int) -> None:
        """In a thread, for names are looked up and handshakes made there."""
        host, port = self._address
        job = self._loop.run_in_executor(None, self._client.connect, host, port, keep_alive_s)
        try:
            await asyncio.shield(job)
        except asyncio.CancelledError:
            self._opener.abandon()
            job.add_done_callback(self._abandoned)
            raise
        except (OSError, ValueError) as fault:
            self._opener.close()
            text = str(fault) or type(fault).__name__
            raise ConnectError(f"{host}:{port} cannot be reached: {text}") from None

    def _abandoned(self, job: asyncio.Future[Any]) -> None:
        if not job.cancelled():
            job.exception()
        self._opener.close()

    def _attach(self) -> None:
        """From here on the loop tells when there is something to read."""
        found = self._opener.opened
        if self._closed or found is None or self._client.socket() is None:
            raise ConnectError("the hub closed the connection at once")
        self._descriptor = found.fileno()
        self._loop.add_reader(self._descriptor, self._readable)
        self._misc = self._loop.call_later(MISC_PERIOD_S, self._look_after)
        self._follow_writes()

    # What the loop calls

    def _readable(self) -> None:
        for _ in range(READS_PER_TURN):
            if not self._step(self._client.loop_read):
                return
            if not self._has_decrypted():
                break
        else:
            # The selector knows nothing of what TLS has decrypted already.
            self._loop.call_soon(self._readable)
        self._follow_writes()

    def _has_decrypted(self) -> bool:
        found = self._opener.opened
        return isinstance(found, ssl.SSLSocket) and found.pending() > 0

    def _writable(self) -> None:
        if self._step(self._client.loop_write):
            self._follow_writes()

    def _look_after(self) -> None:
        if self._step(self._client.loop_misc):
            self._follow_writes()
            self._misc = self._loop.call_later(MISC_PERIOD_S, self._look_after)

    def _step(self, work: Callable[[], Any]) -> bool:
        """Lets paho work; whether the connection still stands."""
        if self._descriptor is None:
            return False
        try:
            work()
        except Exception as fault:
            log.debug("paho failed", exc_info=True)
            self._lost(f"the hub sent what cannot be read ({type(fault).__name__}: {fault})")
        return self._descriptor is not None

    def _follow_writes(self) -> None:
        if self._descriptor is None:
            return
        wanted = self._client.want_write()
        if wanted and not self._writing:
            self._loop.add_writer(self._descriptor, self._writable)
        elif self._writing and not wanted:
            self._loop.remove_writer(self._descriptor)
        self._writing = wanted

    def _detach(self) -> None:
        if self._misc is not None:
            self._misc.cancel()
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
            self._descriptor = None

    # What paho calls; the arguments differ between its versions

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: Any, *_: Any) -> None:
        if not self._connack.done():
            self._connack.set_result(_number(code))

    def _on_disconnect(self, _client: Any, _data: Any, *reason: Any) -> None:
        # Version 1.6 gives a code, version 2 flags, code and properties.
        code = reason[0] if len(reason) == 1 else reason[1]
        text = _paho().error_string(code) if isinstance(code, int) else str(code)
        self._lost(f"the connection ended: {text}")

    def _on_subscribe(self, _client: Any, _data: Any, mid: int, codes: Sequence[Any], *_: Any) -> None:
        self._acknowledged(mid, max((_number(code) for code in codes), default=0))

    def _on_publish(self, _client: Any, _data: Any, mid: int, *_: Any) -> None:
        self._acknowledged(mid, 0)

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        self._received(message.topic, message.payload)

    def _acknowledged(self, mid: int, code: int) -> None:
        waiter = self._acks.get(mid)
        if waiter is not None and not waiter.done():
            waiter.set_result(code)

    # What the owner calls

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribes with QoS 0: what is lost with a connection is read anew after it.

        :raises LinkDownError: the connection ended.
        :raises RequestRefusedError: not all filters were granted.
        """
        _, mid = self._do(lambda: self._client.subscribe([(text, 0) for text in filters]))
        code = await self._acknowledgement(mid)
        if code >= _SUBACK_FAILURE:
            raise RequestRefusedError("a subscription", code)

    def publish(self, topic: str, payload: bytes) -> None:
        """Sends with QoS 0.

        :raises LinkDownError: there is no connection.
        """
        self._do(lambda: self._client.publish(topic, payload, qos=0))

    async def publish_acknowledged(self, topic: str, payload: bytes) -> None:
        """Sends with QoS 1 and waits for the acknowledgement.

        :raises LinkDownError: the connection ended before.
        :raises LinkBusyError: too many wait already.
        """
        if len(self._acks) >= ACKS_MAX:
            raise LinkBusyError(f"{ACKS_MAX} messages wait for their acknowledgement already")
        info = self._do(lambda: self._client.publish(topic, payload, qos=1))
        await self._acknowledgement(info.mid)

    def _do(self, work: Callable[[], Any]) -> Any:
        done: list[Any] = []
        if not self._step(lambda: done.append(work())) or not done:
            raise LinkDownError("there is no connection to the hub")
        self._follow_writes()
        return done[0]

    async def _acknowledgement(self, mid: int) -> int:
        waiter: asyncio.Future[int] = self._loop.create_future()
        self._acks[mid] = waiter
        try:
            return await waiter
        finally:
            del self._acks[mid]

    # The end

    def _lost(self, reason: str) -> None:
        if self._closed:
            return
        was_open = self._was_accepted()
        self._finish(reason)
        if was_open:
            self._ended(reason)

    def _was_accepted(self) -> bool:
        told = self._connack
        return told.done() and not told.cancelled() and told.exception() is None and told.result() == 0

    def _finish(self, reason: str) -> None:
        self._closed = True
        self._detach()
        self._opener.close()
        if not self._connack.done():
            self._connack.set_exception(ConnectError(reason))
            # Whoever opens may have given up meanwhile.
            self._connack.exception()
        for waiter in self._acks.values():
            if not waiter.done():
                waiter.set_exception(LinkDownError(reason))

    def close(self) -> None:
        """Says goodbye and closes; nobody is told. Idempotent."""
        if self._closed:
            return
        if self._descriptor is not None:
            self._closed = True
            self._step(self._client.disconnect)
            self._closed = False
        self._finish("the connection was closed")


def _number(code: Any) -> int:
    """Codes are numbers in paho 1.6, objects with a number in 2."""
    return int(getattr(code, "value", code))


def _paho() -> Any:
    # Without types in 1.6; and an agent without a hub does without it.
    return importlib.import_module("paho.mqtt.client")


@functools.cache
def _client_class() -> Any:
    """paho's client on our sockets.

    :raises LinkSettingsError: a version of paho that makes its sockets elsewhere.
    """
    paho = _paho()
    base: Any = paho.Client
    if not hasattr(base, "_create_socket_connection"):
        raise LinkSettingsError("this version of paho-mqtt is not known; install 1.6 to 2.2")
    versions = getattr(paho, "CallbackAPIVersion", None)
    options = {} if versions is None else {"callback_api_version": versions.VERSION2}

    class Client(base):  # type: ignore[misc]
        """Opens no socket itself."""

        def __init__(self, opener: SocketOpener, client_id: str, protocol: UpstreamProtocol) -> None:
            transport = "tcp" if protocol is UpstreamProtocol.MQTT else "websockets"
            # paho would try an older protocol at a refusal, and block the loop meanwhile.
            super().__init__(client_id=client_id, transport=transport, reconnect_on_failure=False, **options)
            self._our_opener = opener

        def _create_socket_connection(self) -> Any:
            return self._our_opener.open()

    return Client
