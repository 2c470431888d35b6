"""One connection to the parent hub, from open to close. Sans-IO: bytes and time in, bytes and callbacks out.

```
opening ── open, $cbs attached ──► authenticating ── 200 ──► up ──► closed
```

Callbacks to the owner never re-enter this object except through `put_token` and `twin_*`.
"""

from __future__ import annotations

import enum
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_engine import AmqpEngine
from edgehub.protocol.amqp_errors import AmqpFault
from edgehub.protocol.amqp_events import (
    ConnectionClosed,
    Disposed,
    LinkAttached,
    LinkClosed,
    LinkCredit,
    Received,
    SessionClosed,
    SessionOpened,
    TransportFailed,
)
from edgehub.protocol.amqp_options import EngineOptions
from edgehub.protocol.cbs import CBS_ADDRESS, CbsError, encode_put_token, parse_response
from edgehub.upstream.connectivity import Action, Connectivity
from edgehub.upstream.errors import UpstreamError, UpstreamOffline
from edgehub.upstream.message_pool import MessagePool
from edgehub.upstream.method_pool import MethodPool
from edgehub.upstream.senders import SenderPool
from edgehub.upstream.twin_pool import TwinPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.protocol.amqp_handles import AmqpLink
    from edgehub.protocol.amqp_types import Value
    from edgehub.upstream.message_channel import MessageChannel, ParentMessage
    from edgehub.upstream.method_channel import MethodChannel, MethodRequest
    from edgehub.upstream.settings import UpstreamSettings
    from edgehub.upstream.source import UpstreamSource
    from edgehub.upstream.stats import UpstreamStats
    from edgehub.upstream.tokens import Token
    from edgehub.upstream.twin_channel import TwinAnswer

log = logging.getLogger(__name__)

_PROBE: Final = 0
"""Request number of a probe, whose answer nobody waits for."""
TOKEN_MARGIN_S: Final = 60.0
"""A token is renewed at half its life, and no later than this before its end."""
TOKEN_REFUSED_GAP_S: Final = 10.0
"""Links refused as unauthorized ask for a new token, but not more often than this."""


class Phase(enum.Enum):
    """Where the connection stands."""

    OPENING = enum.auto()
    AUTHENTICATING = enum.auto()
    UP = enum.auto()
    CLOSED = enum.auto()


class ConnectionOwner(Protocol):
    """Hears what happens on the connection."""

    def connection_up(self) -> None:
        """Authenticated: messages flow."""
        ...

    def token_wanted(self, *, refused: bool) -> None:
        """A fresh token should be put with `put_token`; `refused` says that the old one was turned down."""
        ...

    def client_unauthorized(self, identity: str) -> None:
        """The parent refuses an identity, and not because of our token."""
        ...

    def twin_done(self, request: int, result: TwinAnswer | UpstreamError) -> None:
        """A twin request ended."""
        ...

    def desired_patch(self, identity: str, patch: dict[str, Any]) -> None:
        """Desired properties of an identity that is followed changed."""
        ...

    def desired_missed(self, identity: str) -> None:
        """Desired properties of an identity that is followed may have changed unseen."""
        ...

    def method_request(self, channel: MethodChannel, request: MethodRequest) -> None:
        """The parent calls a method of a client that is followed, or of ours."""
        ...

    def cloud_message(self, channel: MessageChannel, message: ParentMessage) -> None:
        """The parent has a message for a device that is followed."""
        ...


class UpstreamConnection:
    """See the module.

    :param token: for our own identity, valid now.
    :param now: monotonic time.
    :param wall: Unix time, for the end of tokens.
    :param random: numbers in [0, 1).
    """

    def __init__(  # noqa: PLR0913 - the parts and the three clocks
        self,
        settings: UpstreamSettings,
        source: UpstreamSource,
        stats: UpstreamStats,
        connectivity: Connectivity,
        owner: ConnectionOwner,
        token: Token,
        *,
        now: float,
        wall: float,
        random: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._connectivity = connectivity
        self._owner = owner
        self._now = now
        self.phase = Phase.OPENING
        self.was_up = False
        self.closed_reason: str | None = None
        self.engine = AmqpEngine(
            EngineOptions(
                "client",
                f"{settings.device_id}/edgeHub",
                settings.hub_hostname,
                idle_timeout_ms=settings.idle_timeout_ms,
                sasl_mechanisms=("ANONYMOUS",),
            )
        )
        self.pool = SenderPool(self.engine, source, settings, stats, self, random)
        self.twins = TwinPool(self.engine, settings, self, random)
        self.methods = MethodPool(self.engine, settings, self, random)
        self.messages = MessagePool(self.engine, settings, self, random)
        self._token: Token | None = None
        self._token_at: float | None = None
        self._refusal_heard_at = float("-inf")
        self._token_doubted = False
        self._cbs_waiting: str | None = None
        self._cbs_deadline: float | None = now + settings.operation_timeout_s
        self._cbs_counter = 0
        self._cbs_attached: set[int] = set()
        self.engine.open()
        session = self.engine.new_session()
        self._cbs_out = session.attach_sender("CbsSenderLink", CBS_ADDRESS)
        self._cbs_in = session.attach_receiver("CbsReceiverLink", CBS_ADDRESS, credit=10)
        self.put_token(token, now, wall)

    # ---- bytes

    def feed(self, data: bytes, now: float) -> None:
        """Takes received bytes."""
        self._now = now
        self.engine.feed(data)
        self._dispatch()

    def feed_eof(self, now: float) -> None:
        """The stream ended."""
        self._now = now
        self.engine.feed_eof()
        self._dispatch()
        self._close("the connection was closed by the other side")

    def outbound(self) -> bytes:
        """Bytes to send."""
        return self.engine.outbound()

    def close(self, reason: str) -> None:
        """Ends the connection in an orderly way; send `outbound`, then close the stream."""
        if self.phase is not Phase.CLOSED:
            self.engine.close()
            self._close(reason)

    def _close(self, reason: str) -> None:
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        self.closed_reason = reason
        error = UpstreamOffline(f"the link to the parent hub is down: {reason}")
        self.twins.fail(error)
        self.methods.fail(error)
        self.messages.fail(error)

    # ---- time

    def deadline(self) -> float | None:
        """When to call `on_deadline`."""
        if self.phase is Phase.CLOSED:
            return None
        times = [
            self.engine.deadline(),
            self._cbs_deadline,
            self._token_at,
            self.pool.deadline(),
            self.twins.deadline(),
            self.methods.deadline(),
            self.messages.deadline(),
            self._connectivity.probe_at(),
        ]
        return min((time for time in times if time is not None), default=None)

    def on_deadline(self, now: float) -> None:
        """Heartbeats, time-outs, probes, renewals."""
        self._now = now
        self.engine.on_deadline(now)
        self._dispatch()
        if self._cbs_deadline is not None and now >= self._cbs_deadline:
            self._cbs_deadline = None
            self.close("the parent hub did not answer in time")
            return
        if self._token_at is not None and now >= self._token_at:
            self._token_at = None
            self._owner.token_wanted(refused=False)
        if self.phase is Phase.UP:
            self._on_deadline_up(now)

    def _on_deadline_up(self, now: float) -> None:
        self.twins.on_deadline(now)
        self.methods.on_deadline(now)
        self.messages.on_deadline(now)
        self.pool.on_deadline(now)
        self._act(self._connectivity.on_deadline(now))
        self.pump(now)

    def pump(self, now: float) -> None:
        """There may be messages to take."""
        self._now = now
        if self.phase is Phase.UP:
            self.pool.pump(now)

    # ---- token

    def put_token(self, token: Token, now: float, wall: float) -> None:
        """Sends a token to `$cbs`, now or once its links stand."""
        if self.phase is Phase.CLOSED:
            return
        self._token = token
        left_s = token.expires_at - wall
        self._token_at = now + max(1.0, min(left_s / 2, left_s - TOKEN_MARGIN_S))
        self._flush_token()

    def _flush_token(self) -> None:
        if self._token is None or len(self._cbs_attached) < 2 or self._cbs_out.credit <= 0:
            return
        if self._cbs_waiting is not None:
            return
        token, self._token = self._token, None
        self._cbs_counter += 1
        self._cbs_waiting = f"cbs-{self._cbs_counter}"
        self._cbs_deadline = self._now + self._settings.operation_timeout_s
        self._cbs_out.send(encode_put_token(self._cbs_waiting, self._settings.tokens.audience, token.text))

    def _on_cbs_answer(self, payload: bytes) -> None:
        self._cbs_in.grant(1)
        try:
            answer = parse_response(payload)
        except CbsError as error:
            log.warning("%s", error)
            return
        if answer.correlation_id != self._cbs_waiting:
            return
        self._cbs_waiting = None
        self._cbs_deadline = None
        if answer.status not in (200, 202):
            self._owner.token_wanted(refused=True)
            self.close(f"the parent hub refused our token: {answer.status} {answer.description}")
            return
        self._connectivity.on_success(self._now)
        self._token_doubted = False
        if self.phase is not Phase.UP:
            self._come_up()
        self._flush_token()

    def _come_up(self) -> None:
        self.phase = Phase.UP
        self.was_up = True
        # Our own twin is followed always: that is how the hub gets its configuration.
        self.twins.follow(self._settings.identity, self._now, wanted=True)
        # Messages first: the links of a thousand clients take their time to be attached.
        self.pump(self._now)
        self._owner.connection_up()
        self.pump(self._now)

    # ---- twins

    def twin_get(self, identity: str, request: int, now: float) -> None:
        """Reads a twin; ends in `twin_done`.

        :param request: any number from 1 on.
        :raises UpstreamOffline: not connected, or no room.
        :raises UpstreamRefused: the identity is not in our scope.
        """
        self._usable_twins(now).get(identity, request, now)

    def twin_report(self, identity: str, request: int, patch: bytes, now: float) -> None:
        """Sends a reported patch; ends in `twin_done`. As `twin_get`."""
        self._usable_twins(now).report(identity, request, patch, now)

    def twin_follow(self, identity: str, now: float, *, wanted: bool) -> None:
        """Asks for the desired patches of an identity, or no longer."""
        if self.phase is Phase.UP:
            self._now = now
            self.twins.follow(identity, now, wanted=wanted)

    def _usable_twins(self, now: float) -> TwinPool:
        if self.phase is not Phase.UP:
            raise UpstreamOffline("there is no link to the parent hub")
        self._now = now
        return self.twins

    def twin_done(self, request: int, result: TwinAnswer | UpstreamError) -> None:
        """From the twins; our own probes end here."""
        if request != _PROBE:
            self._owner.twin_done(request, result)

    def desired_patch(self, identity: str, patch: dict[str, Any]) -> None:
        """From the twins."""
        self._owner.desired_patch(identity, patch)

    def desired_missed(self, identity: str) -> None:
        """From the twins."""
        self._owner.desired_missed(identity)

    # ---- methods

    def method_follow(self, identity: str, now: float, *, wanted: bool) -> None:
        """Takes method calls to an identity, or no longer."""
        if self.phase is Phase.UP:
            self._now = now
            self.methods.follow(identity, now, wanted=wanted)

    def method_request(self, channel: MethodChannel, request: MethodRequest) -> None:
        """From the methods."""
        self._owner.method_request(channel, request)

    # ---- cloud-to-device messages

    def message_follow(self, identity: str, now: float, *, wanted: bool) -> None:
        """Takes messages for a device, or no longer."""
        if self.phase is Phase.UP:
            self._now = now
            self.messages.follow(identity, now, wanted=wanted)

    def cloud_message(self, channel: MessageChannel, message: ParentMessage) -> None:
        """From the messages."""
        self._owner.cloud_message(channel, message)

    # ---- connectivity

    def operation_succeeded(self) -> None:
        """From the pool and the twin channel."""
        self._connectivity.on_success(self._now)

    def operation_timed_out(self, started_at: float) -> None:
        """From the pool and the twin channel."""
        self._act(self._connectivity.on_timeout(self._now, started_at))

    def _act(self, action: Action) -> None:
        if action is Action.DISCONNECT:
            self.close("the parent hub does not answer")
        elif action is Action.PROBE and self.phase is Phase.UP:
            self.twins.report(self._settings.identity, _PROBE, b"{}", self._now)

    def token_refused(self, identity: str) -> None:
        """From the pools: a link of an identity was refused as unauthorized. Maybe our token is no good: a
        new one tells. Who is refused with that, too, is refused himself (T-024)."""
        if self._now >= self._refusal_heard_at + TOKEN_REFUSED_GAP_S:
            self._refusal_heard_at = self._now
            self._token_doubted = True
            self._owner.token_wanted(refused=True)
        elif not self._token_doubted and identity != self._settings.identity:
            self._owner.client_unauthorized(identity)

    def hub_gone(self, fault: AmqpFault) -> None:
        """From the pool."""
        self.close(f"the hub is failing over: {fault}")

    # ---- events

    def _dispatch(self) -> None:
        for event in self.engine.events():
            if isinstance(event, Disposed):
                self.pool.on_disposed(event.delivery, event.outcome, self._now)
            elif isinstance(event, LinkCredit):
                self._on_credit(event.link)
            elif isinstance(event, Received):
                self._on_message(event)
            else:
                self._on_rare(event)
        # Once for all that happened: dispositions have made room, or a wait is over.
        if self.phase is Phase.UP:
            self.pool.pump(self._now)

    def _on_credit(self, link: AmqpLink) -> None:
        if link is self._cbs_out:
            self._flush_token()
        elif (pool := self._pool_of(link)) is not None:
            pool.on_credit(link)
        else:
            self.pool.on_credit(link, self._now)

    def _pool_of(self, link: AmqpLink) -> TwinPool | MethodPool | MessagePool | None:
        """The pool with the channel of a link; None for senders and for links that are given up."""
        for pool in (self.twins, self.methods, self.messages):
            if pool.owns(link):
                return pool
        return None

    def _on_message(self, event: Received) -> None:
        pool = self._pool_of(event.link)
        if pool is not None:
            pool.on_message(event, self._now)
            return
        event.delivery.accept()
        if event.link is self._cbs_in:
            self._on_cbs_answer(event.payload)

    def _on_rare(self, event: Value) -> None:
        if isinstance(event, LinkAttached):
            self._on_attached(event.link)
        elif isinstance(event, LinkClosed):
            self._on_link_closed(event.link, event.fault)
        elif isinstance(event, SessionOpened):
            event.session.close(AmqpFault(amqp_errors.NOT_ALLOWED, "this side accepts no sessions"))
        elif isinstance(event, ConnectionClosed):
            self.engine.close()
            self._close(str(event.fault or "closed by the parent hub"))
        elif isinstance(event, TransportFailed):
            self._close(str(event.fault))
        elif isinstance(event, SessionClosed) and event.fault is not None:
            log.info("the parent hub ended a session: %s", event.fault)

    def _on_attached(self, link: AmqpLink) -> None:
        if link in (self._cbs_out, self._cbs_in):
            self._cbs_attached.add(link.key)
            if self.phase is Phase.OPENING:
                self.phase = Phase.AUTHENTICATING
            self._flush_token()
        elif (pool := self._pool_of(link)) is not None:
            pool.on_attached(link)
        else:
            self.pool.on_attached(link, self._now)

    def _on_link_closed(self, link: AmqpLink, fault: AmqpFault | None) -> None:
        if link in (self._cbs_out, self._cbs_in):
            self.close(f"the parent hub closed its $cbs link: {fault or 'no reason given'}")
        elif (pool := self._pool_of(link)) is not None:
            pool.on_closed(link, fault, self._now)
        else:
            self.pool.on_closed(link, fault, self._now)
