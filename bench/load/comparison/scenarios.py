"""The shapes of load, each with the bars that our hub is held against."""

from __future__ import annotations

from dataclasses import dataclass

from comparison.bars import (
    BETTER_THAN_PEER,
    CONNECTS_PER_S,
    CPU_PER_MESSAGE,
    Bar,
    all_delivered,
    bytes_per_connection,
    connects_like_peer,
    latency_like_peer,
    per_cpu_second,
)

LOAD, HOLD, CONNECTS = "run", "hold", "connects"
"""Kinds of scenario: the generator's commands."""

IDLE_CONNECTIONS = 9000
PACED_CLIENTS, PACED_RATE_PER_S = 1000, 5000
QOS_0_WINDOW = 100
"""With QoS 0 the generator has this many messages of a publisher under way."""


@dataclass(frozen=True)
class Scenario:
    """One shape of load.

    Attributes:
        transport: `plain` or `tls`.
        publishers: clients that publish; with `HOLD` and `CONNECTS` all clients.
        window: messages in flight for each publisher.
        subscribers: each gets every message.
        rate_per_s: messages per second of all publishers; None keeps every window full.
        busy: the control plane of our hub is kept busy during the run.
        bars: for our hub.
    """

    transport: str
    publishers: int
    window: int = 1
    subscribers: int = 1
    qos: int = 1
    kind: str = LOAD
    rate_per_s: int | None = None
    busy: bool = False
    bars: tuple[Bar, ...] = ()

    @property
    def name(self) -> str:
        """Short name, as in the table."""
        if self.kind == HOLD:
            return f"{self.transport} {self.publishers} idle"
        if self.kind == CONNECTS:
            return f"{self.transport} connects"
        if self.rate_per_s is not None:
            return f"{self.transport} {self.publishers} clients {self.rate_per_s}/s"
        qos = " QoS 0" if self.qos == 0 else ""
        return f"{self.transport} {self.publishers}->{self.subscribers} window {self.window}{qos}"

    @property
    def of_all_peers(self) -> bool:
        """Whether the other peers beside mosquitto run it too: the QoS 1 rows with a full window."""
        return self.kind == LOAD and self.qos == 1 and self.window > 1 and self.rate_per_s is None


def windowed(transport: str, none: tuple[float, float], group: tuple[float, float]) -> list[Scenario]:
    """The rows of window 20; factors for few publishers and for a hundred, by StoreSync."""
    few = per_cpu_second(none=none[0], group=group[0])
    many = (*per_cpu_second(none=none[1], group=group[1]), *all_delivered())
    return [
        Scenario(transport, 1, 20, bars=few),
        Scenario(transport, 1, 20, subscribers=100, bars=few),
        Scenario(transport, 100, 20, bars=many),
    ]


SCENARIOS = [
    *windowed("plain", none=(8, 10), group=(4, 7)),
    *windowed("tls", none=(6, 10), group=(3, 7)),
    *(
        Scenario(transport, publishers, 1, bars=CPU_PER_MESSAGE)
        for transport in ("plain", "tls")
        for publishers in (1, 100)
    ),
    Scenario("plain", 1, QOS_0_WINDOW, qos=0, bars=BETTER_THAN_PEER),
    Scenario("tls", 1, QOS_0_WINDOW, qos=0),
    Scenario("plain", PACED_CLIENTS, 10, rate_per_s=PACED_RATE_PER_S, busy=True, bars=latency_like_peer()),
    Scenario("plain", IDLE_CONNECTIONS, kind=HOLD, bars=bytes_per_connection(1.5)),
    Scenario("tls", IDLE_CONNECTIONS, kind=HOLD, bars=bytes_per_connection(14)),
    Scenario("plain", 1000, kind=CONNECTS, bars=CONNECTS_PER_S),
    Scenario("tls", 1000, kind=CONNECTS, bars=connects_like_peer()),
]
