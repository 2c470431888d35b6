"""Link addresses (row 23, A-013 to A-016) and auth chains (row 40, I-017)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol.addresses import (
    ADDRESS_CHARS_MAX,
    AddressError,
    LinkAddress,
    Node,
    join_identity,
    node_address,
    parse_address,
    split_identity,
)
from edgehub.protocol.authchain import CHAIN_CHARS_MAX, AuthChain, AuthChainError, direct_chain, parse_chain

GOOD = [
    ("$cbs", LinkAddress(Node.CBS)),
    ("/$CBS", LinkAddress(Node.CBS)),
    ("/devices/d/messages/events", LinkAddress(Node.EVENTS, "d")),
    ("devices/d/messages/events/", LinkAddress(Node.EVENTS, "d")),
    ("amqps://h.example/devices/d/messages/events", LinkAddress(Node.EVENTS, "d")),
    ("AMQPS://h/DEVICES/Dev/Modules/Mod/Messages/Events", LinkAddress(Node.EVENTS, "Dev", "Mod")),
    ("/devices/d/messages/deviceBound", LinkAddress(Node.DEVICE_BOUND, "d")),
    ("/devices/d/messages/devicebound", LinkAddress(Node.DEVICE_BOUND, "d")),
    ("/devices/d/modules/m/methods/devicebound", LinkAddress(Node.METHODS, "d", "m")),
    ("/devices/d/twin", LinkAddress(Node.TWIN, "d")),
    ("/devices/edge%201/modules/%24edgeHub/twin", LinkAddress(Node.TWIN, "edge 1", "$edgeHub")),
    ("/devices/a%252Fb/twin", LinkAddress(Node.TWIN, "a%2Fb")),
    ("/devices/modules/twin", LinkAddress(Node.TWIN, "modules")),
]
BAD = [
    None, "", "/", "$cbs/x", "devices", "/devices/d", "/devices//twin",
    "/devices/d/modules//twin", "/devices/d/modules/twin",
    "/devices/d/messages", "/devices/d/events", "/x/d/twin", "/devices/d/twin/x", "http://h/devices/d/twin",
    "/devices/d/modules/m/modules/n/twin", "amqps://h", "/devices/" + "d" * ADDRESS_CHARS_MAX + "/twin",
]  # fmt: skip


@pytest.mark.parametrize(("address", "parsed"), GOOD)
def test_good_addresses(address: str | None, parsed: Any) -> None:
    assert parse_address(address) == parsed


@pytest.mark.parametrize("address", BAD, ids=lambda address: str(address)[:40])
def test_bad_addresses(address: str | None) -> None:
    with pytest.raises(AddressError):
        parse_address(address)


IDS = st.text(min_size=1, max_size=40).filter(lambda text: text.strip("\ud800") == text)


@given(st.sampled_from([Node.EVENTS, Node.TWIN, Node.METHODS, Node.DEVICE_BOUND]), IDS, st.none() | IDS)
def test_addresses_round_trip(node: Any, device: Any, module: Any) -> None:
    assert parse_address(node_address(node, device, module)) == LinkAddress(node, device, module)


@given(st.text(max_size=80))
def test_nothing_else_escapes(address: str | None) -> None:
    with suppress(AddressError):
        parse_address(address)


def test_identities() -> None:
    assert split_identity("d") == ("d", None)
    assert split_identity("d/m") == ("d", "m")
    assert join_identity(*split_identity("d/m")) == "d/m"
    for bad in ("", "/", "d/", "/m", "d/m/x"):
        with pytest.raises(AddressError):
            split_identity(bad)


CHAINS = [
    ("edge1", AuthChain("edge1", None, ("edge1",))),
    ("leaf;edge1", AuthChain("leaf", None, ("leaf", "edge1"))),
    ("edge1/mod;edge1", AuthChain("edge1", "mod", ("edge1",))),
    ("leaf/mod;leaf;edge1;edge2", AuthChain("leaf", "mod", ("leaf", "edge1", "edge2"))),
]
BAD_CHAINS = [
    "", ";", "leaf;;edge", "leaf/mod", "leaf/mod;edge1", "leaf;edge1/mod", "a;b;a", "a/b/c;a", ";edge",
    ";".join(f"d{i}" for i in range(9)), "x" * (CHAIN_CHARS_MAX + 1),
]  # fmt: skip


@pytest.mark.parametrize(("text", "chain"), CHAINS)
def test_good_chains(text: str, chain: Any) -> None:
    assert parse_chain(text) == chain
    assert str(chain) == text
    assert chain.actor == text.rsplit(";", maxsplit=1)[-1]
    assert parse_chain(text + ";") == chain


@pytest.mark.parametrize("text", BAD_CHAINS, ids=lambda text: text[:30])
def test_bad_chains(text: str) -> None:
    with pytest.raises(AuthChainError):
        parse_chain(text)


def test_a_chain_is_for_its_target_alone() -> None:
    chain = parse_chain("leaf/mod;leaf;edge1")
    assert chain.is_for("leaf", "mod")
    assert not chain.is_for("leaf", None)
    assert not chain.is_for("edge1", "mod")


def test_direct_chains_and_extension() -> None:
    assert str(direct_chain("e", "e", "m")) == "e/m;e"
    assert str(direct_chain("e", "leaf", None)) == "leaf;e"
    assert str(direct_chain("e", "leaf", "m").extended("top")) == "leaf/m;leaf;e;top"
