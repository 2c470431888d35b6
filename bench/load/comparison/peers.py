"""The brokers that the hub is compared with, behind one small protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from comparison.aedes import Aedes
from comparison.amqtt import Amqtt
from comparison.mosquitto import Mosquitto
from comparison.nats import Nats
from comparison.rabbitmq import RabbitMq
from comparison.rumqttd import Rumqttd

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from comparison.processes import Needs, RunningBroker


class Peer(Protocol):
    """A broker that may be there."""

    @property
    def name(self) -> str:
        """As in the tables."""

    def missing(self) -> str | None:
        """Why it cannot be run, with what to do about it; None when it can."""

    def version(self) -> str:
        """What it calls itself."""

    def start(self, work_dir: Path, needs: Needs) -> AbstractContextManager[RunningBroker]:
        """Runs it while the context is open.

        Raises:
            processes.StartError: it did not come up.
        """


@dataclass(frozen=True)
class Chosen:
    """The peers of a run, and those that were wanted and are not there."""

    peers: tuple[Peer, ...]
    skipped: dict[str, str]


def all_peers(mosquitto: str) -> tuple[Peer, ...]:
    """Every peer, the one that bars refer to first.

    Args:
        mosquitto: its binary.
    """
    return (Mosquitto(mosquitto), Rumqttd(), Nats(), RabbitMq(), Aedes(), Amqtt())


def choose(peers: tuple[Peer, ...], wanted: list[str] | None) -> Chosen:
    """Those of the wanted ones that can be run; without a wish all that can.

    Raises:
        ValueError: a wanted name is none of a peer.
    """
    names = [peer.name for peer in peers]
    unknown = [name for name in wanted or [] if name not in names]
    if unknown:
        raise ValueError(f"no peer {unknown[0]!r}; there are {', '.join(names)}")
    considered = [peer for peer in peers if wanted is None or peer.name in wanted]
    reasons = {peer.name: reason for peer in considered if (reason := peer.missing()) is not None}
    return Chosen(tuple(peer for peer in considered if peer.name not in reasons), reasons)
