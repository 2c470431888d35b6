"""The map of connections (heads spec 5.1; I-020, DEV-15)."""

from __future__ import annotations

import pytest

from edgehub.common.ids import IdentityId
from edgehub.heads.connections import Client, ClientLimitError, Connections
from edgehub.identity.authenticator import Credential
from edgehub.protocol.sessions import Session


def client(conn: int, identity: str) -> Client:
    credential = Credential(IdentityId.parse(identity), "key", 0.0, None, b"")
    return Client(conn, credential, Session(durable=False))


def test_the_newest_connection_wins() -> None:
    connections = Connections(10)
    old, new = client(1, "d"), client(2, "d")
    assert connections.register(old) is None
    assert connections.register(new) is old
    assert connections.by_conn(1) is None
    assert connections.by_conn(2) is new
    assert connections.by_identity(IdentityId("d")) is new
    assert connections.unregister(1) is None
    assert connections.count == 1
    assert connections.unregister(2) is new
    assert connections.unregister(2) is None
    assert connections.count == 0
    assert list(connections) == []


def test_the_limit_counts_live_clients() -> None:
    connections = Connections(1)
    connections.check_room(IdentityId("a"))
    connections.register(client(1, "a"))
    connections.check_room(IdentityId("a"))
    connections.check_room(IdentityId("e", "$edgeHub"))
    with pytest.raises(ClientLimitError, match=r"maximum allowed clients \(1\) connected"):
        connections.check_room(IdentityId("b"))
    connections.unregister(1)
    connections.check_room(IdentityId("b"))


def test_iterating_takes_a_snapshot() -> None:
    connections = Connections(10)
    for number in range(3):
        connections.register(client(number, f"d{number}"))
    for item in connections:
        connections.unregister(item.conn)
    assert connections.count == 0
