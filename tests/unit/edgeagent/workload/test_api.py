"""Rows W01 to W08, W11 to W14 without sockets."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.workload.api import Caller, WorkloadApi, issued_answer, module_item, module_name
from edgeagent.workload.certificates import IdentityWanted, IssuedCertificate, ServerWanted
from edgeagent.workload.http import API_VERSIONS, Answer, Request
from edgeagent.workload.keys import MasterKeys

KEY = bytes(range(32))
GENERATION = "637000000000000000"
M1 = Caller("m1", GENERATION)
HUB = Caller("$edgeHub", GENERATION)
DATA = "aHViMS5leGFtcGxlLm5ldCUyRmRldmljZXMlMkZkMSUyRm1vZHVsZXMlMkZtMQoxNzAwMDAwMDAw"
DIGEST = "2a40y/mU0cMk3uuLrvIe1OaB0kn3BIMHFlpUws08DXk="
IV = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
V2 = "AuHCYhu0ms/Nqg/jlFtESWGbiKe/hOGB"
V1 = "Ac2qD+OUW0RJYZuIp7+E4YHhwmIbtJrP"
PATH = f"/modules/m1/genid/{GENERATION}"
SIGN = {"keyId": "primary", "algo": "HMACSHA256", "data": DATA}


@dataclass
class Trust:
    bundle: str | None = "PEM"
    manifest: str = ""
    ca_common_name: str = "own-ca"

    def trust_bundle(self) -> str | None:
        return self.bundle

    def manifest_trust_bundle(self) -> str:
        return self.manifest


TRUST = Trust()
API = WorkloadApi(MasterKeys(KEY, KEY), TRUST, "hub.test", "dev1", lambda: [module_item("m1")])


def call(
    verb: str,
    path: str,
    body: Any = None,
    *,
    caller: Caller = M1,
    kind: str | None = "application/json",
    version: str | None = "2022-08-03",
    api: WorkloadApi = API,
) -> Any:
    """Status and content, or what is to be issued."""
    target = path if version is None else f"{path}?api-version={version}"
    raw = body if isinstance(body, bytes) else (b"" if body is None else json.dumps(body).encode())
    outcome = api.respond(Request(verb, target, kind, raw), caller)
    return (outcome.status, outcome.content) if isinstance(outcome, Answer) else outcome


def error(status: int, message: str) -> tuple[int, dict[str, str]]:
    return status, {"message": message}


def test_w01_api_version() -> None:
    """Row W01."""
    assert call("GET", "/trust-bundle", version=None) == error(400, "api-version not specified")
    assert call("GET", "/trust-bundle", version="x") == error(400, 'invalid api-version "x"')


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/none",
        "/modules/m1",
        "/trust-bundle/",
        f"{PATH}/none",
        PATH,
        f"{PATH}/sign/",
        "/modules/m1/genid",
    ],
)
def test_w01_unknown_paths(path: str) -> None:
    """Row W01."""
    assert call("GET", path) == call("POST", path, SIGN) == error(404, "not found")


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("POST", "/trust-bundle"),
        ("PUT", "/manifest-trust-bundle"),
        ("DELETE", "/modules"),
        ("GET", f"{PATH}/sign"),
        ("PUT", f"{PATH}/encrypt"),
        ("GET", "/modules/m1/certificate/identity"),
        ("GET", f"{PATH}/certificate/server"),
    ],
)
def test_w01_wrong_verbs(verb: str, path: str) -> None:
    """Row W01."""
    assert call(verb, path, SIGN) == error(400, "method not allowed")


def test_w02_sign_vector() -> None:
    """Row W02."""
    assert call("POST", f"{PATH}/sign", SIGN) == (200, {"digest": DIGEST})


@pytest.mark.parametrize("body", [{"data": DATA}, {"keyId": "secondary", "algo": "none", "data": DATA}])
def test_only_the_data_is_read(body: dict[str, str]) -> None:
    assert call("POST", f"{PATH}/sign", body) == (200, {"digest": DIGEST})


def test_w03_sign_without_content_type() -> None:
    """Row W03: the Python SDK sends none."""
    assert call("POST", f"{PATH}/sign", SIGN, kind=None) == (200, {"digest": DIGEST})
    refused = call("POST", f"{PATH}/sign", SIGN, kind="text/plain")
    assert refused == error(400, "missing parameter: request body")
    refused = call("POST", f"{PATH}/encrypt", SIGN, kind="text/plain")
    assert refused == error(400, "missing request body")


@pytest.mark.parametrize("version", API_VERSIONS)
def test_w04_sign_with_every_version(version: str) -> None:
    """Row W04; the Node SDK asks with 2018-06-28 and application/json."""
    answer = call("POST", f"{PATH}/sign", SIGN, version=version, kind="application/json; charset=utf-8")
    assert answer == (200, {"digest": DIGEST})


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        ("sign", "data"),
        ("encrypt", "plaintext"),
        ("encrypt", "initializationVector"),
        ("decrypt", "ciphertext"),
        ("decrypt", "initializationVector"),
    ],
)
def test_w05_invalid_base64(operation: str, name: str) -> None:
    """Row W05."""
    body = {"data": DATA, "plaintext": DATA, "ciphertext": V2, "initializationVector": IV, name: "x"}
    status, content = call("POST", f"{PATH}/{operation}", body)
    assert status == 400
    assert content["message"].startswith(f"invalid parameter: {name}")


def test_w06_encrypt_and_decrypt() -> None:
    """Row W06, vectors of agent spec 12."""
    body = {"plaintext": "eyJhIjoxfQ==", "initializationVector": IV}
    assert call("POST", f"{PATH}/encrypt", body) == (200, {"ciphertext": V2})
    for ciphertext in (V1, V2):
        body = {"ciphertext": ciphertext, "initializationVector": IV}
        assert call("POST", f"{PATH}/decrypt", body) == (200, {"plaintext": "eyJhIjoxfQ=="})


def test_w07_decrypt_as_another() -> None:
    """Row W07: also where module and generation put together are the same text."""
    body = {"ciphertext": V2, "initializationVector": IV}
    for caller in (Caller("m2", GENERATION), Caller("m1", "1")):
        path = f"/modules/{caller.module_id}/genid/{caller.generation_id}/decrypt"
        status, content = call("POST", path, body, caller=caller)
        assert status == 500
        assert "not encrypted by this module" in content["message"]
    other = Caller("m163", GENERATION[2:])
    assert call("POST", f"{PATH}/decrypt", body, caller=other) == error(403, "forbidden")


def test_malformed_ciphertext() -> None:
    body = {"ciphertext": "", "initializationVector": IV}
    assert call("POST", f"{PATH}/decrypt", body) == error(500, "the ciphertext is cut short")


def test_w08_iv_out_of_range() -> None:
    """Row W08; lengths that the library cannot take are said to be so."""
    body = {"plaintext": "", "ciphertext": V2, "initializationVector": "eA=="}
    for operation in ("encrypt", "decrypt"):
        answer = call("POST", f"{PATH}/{operation}", body)
        text = "invalid parameter: initializationVector: 1 bytes; expected 8 to 128"
        assert answer == error(400, text)


def test_w09_server_certificate() -> None:
    """Row W09: what is issued, row by row in test_certificates."""
    body = {"commonName": "gateway", "expiration": "2030-01-01T00:00:00Z"}
    wanted = call("POST", f"/modules/%24edgeHub/genid/{GENERATION}/certificate/server", body, caller=HUB)
    assert wanted == ServerWanted("gateway", "edgeHub")


@pytest.mark.parametrize("name", ["", "own-ca", "a b", "x" * 254])
def test_common_names_that_are_refused(name: str) -> None:
    status, content = call("POST", f"{PATH}/certificate/server", {"commonName": name})
    assert status == 400
    assert content["message"].startswith("invalid parameter: commonName")


@pytest.mark.parametrize("body", [None, {}, {"expiration": "2030"}, b"not JSON"])
@pytest.mark.parametrize("kind", [None, "application/json", "text/plain"])
def test_w11_identity_certificate(body: Any, kind: str | None) -> None:
    """Row W11: any body or none."""
    wanted = call("POST", "/modules/m1/certificate/identity", body, kind=kind)
    assert wanted == IdentityWanted("m1", "hub.test", "dev1")


def test_w12_trust_bundles() -> None:
    """Row W12."""
    assert call("GET", "/trust-bundle") == (200, {"certificate": "PEM"})
    assert call("GET", "/manifest-trust-bundle") == (200, {"certificate": ""})
    api = WorkloadApi(MasterKeys(KEY, KEY), Trust(None, "M"), "hub.test", "dev1", list)
    assert call("GET", "/manifest-trust-bundle", api=api) == (200, {"certificate": "M"})
    missing = error(404, 'certificate "aziot-edged-trust-bundle" not found')
    assert call("GET", "/trust-bundle", api=api) == missing


@pytest.mark.parametrize("operation", ["sign", "encrypt", "decrypt", "certificate/server"])
def test_w13_a_foreign_module(operation: str) -> None:
    """Row W13: whatever the body says."""
    for module in ("m2", "M1", "m1%20", "", "%24edgeHub"):
        answer = call("POST", f"/modules/{module}/genid/{GENERATION}/{operation}", b"not JSON")
        assert answer == error(403, "forbidden")
    assert call("POST", "/modules/m2/certificate/identity") == error(403, "forbidden")


def test_a_generation_that_is_over() -> None:
    """Agent spec 11, row 10: verified, as it is known."""
    status, content = call("POST", "/modules/m1/genid/1/sign", SIGN)
    assert status == 403
    assert content["message"].startswith("forbidden: this is not the generation id")


@pytest.mark.parametrize("module", ["%24edgeHub", "$edgeHub", "edgeHub"])
def test_w14_names_of_system_modules(module: str) -> None:
    """Row W14; the key is that of the identity, `$` included, however the path spells it."""
    status, content = call("POST", f"/modules/{module}/genid/{GENERATION}/sign", SIGN, caller=HUB)
    assert status == 200
    assert content != {"digest": DIGEST}
    assert content == call("POST", f"/modules/%24edgeHub/genid/{GENERATION}/sign", SIGN, caller=HUB)[1]


@pytest.mark.parametrize("path", ["/modules", "/modules/"])
def test_list(path: str) -> None:
    status, content = call("GET", path)
    assert status == 200
    assert [item["name"] for item in content["modules"]] == ["m1"]
    assert content["modules"][0]["status"] == {"runtimeStatus": {"status": "unknown"}}


def test_certificate_object() -> None:
    """Agent spec 7.3."""
    issued = IssuedCertificate("CHAIN", "KEY", datetime(2026, 9, 1, tzinfo=UTC))
    assert issued_answer(issued) == Answer(
        201,
        {
            "privateKey": {"type": "key", "bytes": "KEY"},
            "certificate": "CHAIN",
            "expiration": "2026-09-01T00:00:00+00:00",
        },
    )


def test_names() -> None:
    assert module_name("$edgeHub") == HUB.name == "edgeHub"
    assert module_name("m1") == M1.name == "m1"


BODY = st.dictionaries(
    st.sampled_from(["data", "plaintext", "ciphertext", "initializationVector", "commonName"]),
    st.text(max_size=20) | st.sampled_from([IV, V1, V2, DATA, "eA=="]) | st.none() | st.integers(),
)
TARGET = st.sampled_from([
    "/modules", "/trust-bundle", "/manifest-trust-bundle", "/modules/m1/certificate/identity",
    *(f"{PATH}/{name}" for name in ("sign", "encrypt", "decrypt", "certificate/server")),
]) | st.text(max_size=30).map(lambda text: f"/{text}")  # fmt: skip


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
    TARGET,
    st.sampled_from(["?api-version=2018-06-28", "", "?api-version="]) | st.text(max_size=10),
    st.none() | st.sampled_from(["application/json", "text/plain"]) | st.text(max_size=10),
    BODY.map(lambda body: json.dumps(body).encode()) | st.binary(max_size=60),
)
def test_random_requests_get_an_answer(
    verb: str, path: str, query: str, kind: str | None, body: bytes
) -> None:
    """Nothing that a module sends raises, and nothing is signed for another module."""
    outcome = API.respond(Request(verb, path + query, kind, body), M1)
    if isinstance(outcome, Answer):
        assert outcome.status in {200, 400, 403, 404, 415, 422, 500}
        assert json.loads(outcome.encoded())
        if outcome.status == 500:
            assert path.endswith("decrypt")
    elif isinstance(outcome, ServerWanted):
        assert outcome.module_name == "m1"
    else:
        assert outcome.module_id == "m1"


@given(st.text(max_size=40).filter(lambda name: name not in ("m1", "$m1")))
def test_no_other_name_is_the_callers(name: str) -> None:
    from urllib.parse import quote

    with suppress(UnicodeEncodeError):
        path = f"/modules/{quote(name, safe='')}/genid/{GENERATION}/sign"
        assert call("POST", path, SIGN)[0] == 403
