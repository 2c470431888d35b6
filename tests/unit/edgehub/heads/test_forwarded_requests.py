"""Certificates that a proxy passes on with requests (heads spec 3.2, 3.5; H-020)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from edgehub.identity.model import AuthType
from testkit.children import PROXY, Door
from testkit.identities import sas_identity, token_for
from testkit.x509 import issue

if TYPE_CHECKING:
    from testkit.x509 import Issued

NOW_S = 1_700_000_000.0
LEAF = issue("leaf", now_s=NOW_S)
OTHER = issue("leaf", now_s=NOW_S)
CALL = ("GET", "/devices/leaf/modules/m")


def header_of(shown: Issued) -> str:
    return quote(shown.pem.decode(), safe="")


@pytest.fixture
def door(child_door: Door) -> Door:
    """`leaf` proves itself by a certificate, and the proxy is registered."""
    leaf = replace(
        sas_identity("leaf"), auth_type=AuthType.THUMBPRINT, keys=(), thumbprints=(LEAF.sha256.upper(),)
    )
    for identity in (leaf, sas_identity(str(PROXY))):
        child_door.bench.api.put(identity)
        child_door.bench.put(identity)
    return child_door


async def test_h_020_a_device_with_a_certificate_reads_its_modules_through_a_proxy(door: Door) -> None:
    answer = await door.call(*CALL, who=str(PROXY), passed_on=header_of(LEAF))
    assert (answer.status, answer.json) == (200, {"moduleId": "m"})
    assert door.bench.registry.taken() == [
        ("POST", "getModuleOnBehalfOf", {"authChain": "leaf;edge1", "targetModuleId": "m"}, None)
    ]


@pytest.mark.parametrize(
    ("signer", "shown"),
    [
        (str(PROXY), header_of(OTHER)),
        (str(PROXY), "no certificate"),
        ("edge1/m", header_of(LEAF)),
        ("leaf", header_of(LEAF)),
        ("edge2/$edgeHub", header_of(LEAF)),
    ],
)
async def test_h_020_what_is_not_passed_on_by_the_proxy_gives_401(
    door: Door, signer: str, shown: str
) -> None:
    answer = await door.call(*CALL, who=signer, passed_on=shown)
    assert (answer.status, answer.json) == (401, None)
    assert door.bench.registry.taken() == []


async def test_h_020_without_a_token_it_does_not_count(door: Door) -> None:
    answer = await door.call(*CALL, token=None, passed_on=header_of(LEAF))
    assert (answer.status, answer.json) == (401, None)


async def test_h_020_the_certificate_counts_and_no_token_beside_it(door: Door) -> None:
    """A good token of the device does not make up for a header that is not the proxy's."""
    bench = door.bench
    bench.put(sas_identity("leaf"))
    token = token_for("leaf", bench.clock)
    assert (await door.call(*CALL, token=token)).status == 200
    assert (await door.call(*CALL, token=token, passed_on=header_of(LEAF))).status == 401


async def test_i_010_nobody_acts_for_others_by_a_certificate(door: Door) -> None:
    path = "/devices/edge2/modules/$edgeHub/getModulesOnTargetDevice"
    answer = await door.call("POST", path, {"authChain": "edge2"}, who=str(PROXY), passed_on=header_of(LEAF))
    assert answer.status == 401


async def test_the_proxy_is_not_the_device_it_speaks_to_the_hub_for(door: Door) -> None:
    assert (await door.call(*CALL, who=str(PROXY))).status == 401
