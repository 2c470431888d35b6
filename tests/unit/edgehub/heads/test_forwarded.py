"""Certificates that a proxy passes on (heads spec 3.5; H-020)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from edgehub.common.ids import IdentityId
from edgehub.heads.forwarded import (
    CERTIFICATES_MAX,
    HEADER_CHARS_MAX,
    Forwarded,
    ForwardedError,
    parse_forwarded,
)
from edgehub.identity.client_certificates import ClientCertificates
from edgehub.identity.model import AuthType, ServiceIdentity
from testkit.head_bench import PROXY, HeadBench
from testkit.identities import EDGE_SCOPE, token_for
from testkit.x509 import issue

if TYPE_CHECKING:
    from testkit.x509 import Issued

NOW_S = 1_700_000_000.0
DEVICE = issue("dev", now_s=NOW_S)
OTHER = issue("dev", now_s=NOW_S)
ADOPTED = 0


def header_of(*shown: Issued) -> str:
    return quote("".join(item.pem.decode() for item in shown), safe="")


@pytest.fixture
async def bench() -> HeadBench:
    made = HeadBench(["leaf", "edge1/m", str(PROXY)], certificates=ClientCertificates(None))
    device = ServiceIdentity(
        IdentityId("dev"),
        auth_type=AuthType.THUMBPRINT,
        thumbprints=(DEVICE.sha256,),
        device_scope=EDGE_SCOPE,
        parent_scopes=(EDGE_SCOPE,),
    )
    made.api.put(device)
    made.cache.apply_one(device.id, [device])
    return made


async def read(bench: HeadBench, *shown: Issued, signer: str = str(PROXY)) -> Forwarded | None:
    token = token_for(str(PROXY), bench.clock, signer=signer)
    return await bench.forwarded.read({"x-ms-edge-clientcert": header_of(*shown), "Authorization": token})


def connect(
    bench: HeadBench, conn: int = 1, listener: int = ADOPTED, password: bytes | None = None
) -> list[str]:
    return bench.connect(conn, "dev", password=password, listener=listener, peer="10.0.0.9:44")


async def test_h_020_a_certificate_from_the_proxy_counts_as_the_clients_own(bench: HeadBench) -> None:
    found = await read(bench, DEVICE)
    assert found == Forwarded((DEVICE.der,))
    with bench.forwarded.held("10.0.0.9:44", found):
        assert connect(bench) == ["accept 1"]
        assert connect(bench, 2, listener=1) == ["refuse 2 5"], "what came over TCP is not the proxy's"
    assert connect(bench, 3) == ["refuse 3 5"], "that connection is over"


async def test_h_020_without_the_header_nothing_is_forwarded(bench: HeadBench) -> None:
    assert await bench.forwarded.read({}) is None
    assert await bench.forwarded.read({"Authorization": token_for(str(PROXY), bench.clock)}) is None
    with bench.forwarded.held("10.0.0.9:44", None):
        assert connect(bench) == ["refuse 1 5"]


@pytest.mark.parametrize("signer", ["leaf", "edge1/m", "stranger"])
async def test_h_020_from_others_it_ends_every_authentication(bench: HeadBench, signer: str) -> None:
    found = await read(bench, DEVICE, signer=signer)
    assert found is not None
    assert found.certificates == ()
    assert found.fault.startswith("a certificate was forwarded, but not by edge1/IoTEdgeAPIProxy")
    with bench.forwarded.held("10.0.0.9:44", found):
        assert connect(bench) == ["refuse 1 5"]
        good = token_for("leaf", bench.clock).encode()
        assert bench.connect(2, "leaf", password=good, listener=ADOPTED, peer="10.0.0.9:44") == ["refuse 2 5"]


@pytest.mark.parametrize("token", ["", "Bearer x", "SharedAccessSignature sr=\udc80&sig=AAAA&se=1"])
async def test_h_020_without_a_token_it_does_not_count(bench: HeadBench, token: str) -> None:
    headers = {"x-ms-edge-clientcert": header_of(DEVICE), "Authorization": token}
    found = await bench.forwarded.read(headers)
    assert found is not None
    assert found.fault


async def test_h_020_a_token_of_another_module_is_not_the_proxys(bench: HeadBench) -> None:
    headers = {
        "x-ms-edge-clientcert": header_of(DEVICE),
        "Authorization": token_for("edge1/m", bench.clock),
    }
    found = await bench.forwarded.read(headers)
    assert found is not None
    assert found.fault


async def test_a_wrong_certificate_is_refused_like_the_clients_own(bench: HeadBench) -> None:
    with bench.forwarded.held("10.0.0.9:44", await read(bench, OTHER)):
        connect(bench)
        assert await bench.settle() == ["refuse 1 5"]


async def test_a_newer_connection_from_the_same_address_keeps_what_is_its_own(bench: HeadBench) -> None:
    older, newer = Forwarded((b"older",)), Forwarded((b"newer",))
    with bench.forwarded.held("p", newer):
        pass
    first = bench.forwarded.held("p", older)
    with first:
        second = bench.forwarded.held("p", newer)
        second.__enter__()
    assert bench.forwarded.of("p") is newer
    second.__exit__(None, None, None)
    assert bench.forwarded.of("p") is None


def test_several_certificates_in_order() -> None:
    assert parse_forwarded(header_of(DEVICE, OTHER)) == (DEVICE.der, OTHER.der)
    assert len(parse_forwarded(header_of(*[DEVICE] * CERTIFICATES_MAX))) == CERTIFICATES_MAX


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "none",
        quote("-----BEGIN CERTIFICATE-----"),
        quote("-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----"),
        quote("-----BEGIN CERTIFICATE-----\n\u00e9\n-----END CERTIFICATE-----"),
        header_of(*[DEVICE] * (CERTIFICATES_MAX + 1)),
        "x" * (HEADER_CHARS_MAX + 1),
    ],
)
def test_headers_that_hold_none(text: str) -> None:
    with pytest.raises(ForwardedError, match="x-ms-edge-clientcert"):
        parse_forwarded(text)


def test_a_certificate_is_not_shown() -> None:
    assert "older" not in repr(Forwarded((b"older",)))
