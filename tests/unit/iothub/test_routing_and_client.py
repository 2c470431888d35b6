"""Paths of the REST API, and what the command line makes of connection strings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from iothub import jsonio
from iothub.cli.client import (
    ClientError,
    HubClient,
    Login,
    device_connection_string,
    identity_path,
    parse_connection_string,
    resolve_login,
)
from iothub.cli.method import read_payload
from iothub.cli.monitor import event_line
from iothub.cli.twin import read_object
from iothub.errors import ErrorCode, HubError
from iothub.rest.routing import PATH_CHARS_MAX, Call, Router


async def one(_call: Call) -> web.StreamResponse:
    return web.Response()


async def two(_call: Call) -> web.StreamResponse:
    return web.Response()


def router() -> Router:
    made = Router()
    made.add("GET", "/devices/{}/modules", one)
    made.add("PUT", "/devices/{}/modules", two)
    made.add("GET", "/twins/{}", two)
    return made


@pytest.mark.parametrize(
    "path",
    [
        "/devices/D%2B1/modules",
        "/DEVICES/D%2B1/Modules/",
        "devices/D%2B1/modules",
        "//devices/D%2B1/modules//",
    ],
)
def test_literals_in_any_case_ids_as_they_are(path: str) -> None:
    assert router().find("GET", path) == (one, ("D+1",))
    assert router().find("PUT", path) == (two, ("D+1",))


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/", ErrorCode.GenericNotFound),
        ("GET", "/devices", ErrorCode.GenericNotFound),
        ("GET", "/devices/a%2Fb/c/modules", ErrorCode.GenericNotFound),
        ("DELETE", "/twins/x", ErrorCode.GenericMethodNotAllowed),
        ("GET", "/" + "x" * PATH_CHARS_MAX, ErrorCode.GenericBadRequest),
    ],
)
def test_paths_that_lead_nowhere(method: str, path: str, code: ErrorCode) -> None:
    with pytest.raises(HubError) as caught:
        router().find(method, path)
    assert caught.value.code is code


def test_an_encoded_slash_stays_inside_its_id() -> None:
    assert router().find("GET", "/twins/a%2Fb") == (two, ("a/b",))


@given(st.text(max_size=60))
def test_any_path_is_found_or_an_error(path: str) -> None:
    try:
        router().find("GET", path)
    except HubError:
        return
    assert "twins" in path.lower() or "devices" in path.lower()


@given(st.binary(max_size=60))
def test_any_body_is_an_object_or_an_error(raw: bytes) -> None:
    codes = []
    try:
        assert isinstance(jsonio.parse_object(raw, "it"), dict)
    except HubError as error:
        codes.append(error.code)
    assert codes in ([], [ErrorCode.IotHubFormatError])


def test_connection_strings() -> None:
    assert parse_connection_string(" HostName=h;SharedAccessKey=a=b==; ") == {
        "hostname": "h",
        "sharedaccesskey": "a=b==",
    }
    for bad in ("", "HostName", "HostName=", "HostName=h;;x=1"):
        with pytest.raises(ClientError):
            parse_connection_string(bad)


OWNER = "HostName=hub.test;SharedAccessKeyName=iothubowner;SharedAccessKey=AAAA"


def test_login_by_string_by_folder_and_both(tmp_path: Path) -> None:
    plain = resolve_login(OWNER, None, None, None)
    assert (plain.hostname, plain.address, plain.port, plain.policy, plain.ca_file) == (
        "hub.test", "hub.test", 443, "iothubowner", None,
    )  # fmt: skip
    elsewhere = resolve_login(OWNER, None, "[::1]:8443", Path("ca.pem"))
    assert (elsewhere.address, elsewhere.port, elsewhere.ca_file) == ("::1", 8443, Path("ca.pem"))
    endpoint = {
        "hostname": "hub.test",
        "address": "127.0.0.1",
        "httpsPort": 9443,
        "amqpPort": 1,
        "caFile": "/x/ca.pem",
    }
    (tmp_path / "endpoint.json").write_text(json.dumps(endpoint))
    (tmp_path / "iothubowner.txt").write_text(OWNER + "\n")
    local = resolve_login(None, tmp_path, None, None)
    assert (local.address, local.port, local.key, local.ca_file) == (
        "127.0.0.1",
        9443,
        "AAAA",
        Path("/x/ca.pem"),
    )
    other = resolve_login(OWNER.replace("iothubowner", "service"), tmp_path, None, None)
    assert (other.policy, other.port) == ("service", 9443)


@pytest.mark.parametrize("address", ["host:port", ":443"])
def test_bad_addresses(address: str) -> None:
    with pytest.raises(ClientError, match="HOST:PORT"):
        resolve_login(OWNER, None, address, None)


def test_no_login_at_all(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="--login"):
        resolve_login(None, None, None, None)
    with pytest.raises(ClientError, match="not the data folder"):
        resolve_login(None, tmp_path, None, None)


@pytest.mark.parametrize("headers", [{"iothub-messageid": "two\nlines"}, {"iothub-app-a:b": "1"}])
def test_headers_that_cannot_be_sent(headers: dict[str, str]) -> None:
    client = HubClient(Login("hub", "127.0.0.1", 1, "service", "a2V5", None))
    with pytest.raises(ClientError, match="cannot be sent"):
        client.post_bytes("/devices/d/messages/deviceBound", b"", headers)


def test_connection_string_of_an_identity() -> None:
    view: dict[str, Any] = {"deviceId": "d", "authentication": {"symmetricKey": {"primaryKey": "K"}}}
    assert device_connection_string("h", view) == "HostName=h;DeviceId=d;SharedAccessKey=K"
    module = view | {"moduleId": "m"}
    assert device_connection_string("h", module, "gw") == (
        "HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=K;GatewayHostName=gw"
    )
    with pytest.raises(ClientError, match="d has no symmetric key"):
        device_connection_string("h", {"deviceId": "d", "authentication": {"type": "none"}})


def test_options_that_are_no_json_are_told(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b'{"a": "\xe9"}')
    for text, told in (
        (f"@{tmp_path}/latin", "not UTF-8"),
        (f"@{tmp_path}/missing", "cannot read"),
        ("[" * 100_000, "not valid JSON"),
        ("{", "not valid JSON"),
        ("[1]", "must be a JSON object"),
    ):
        with pytest.raises(ClientError, match=told):
            read_object(text, "--desired")
    with pytest.raises(ClientError, match="not valid JSON"):
        read_payload("[" * 100_000)


def test_ids_in_paths() -> None:
    assert identity_path("twins", "a b/%", "$edgeHub") == "/twins/a%20b%2F%25/modules/%24edgeHub"
    assert identity_path("devices", "\udcff") == "/devices/%FF"


def test_one_line_per_event() -> None:
    event = {
        "sequenceNumber": 7, "enqueuedTime": "T", "deviceId": "d", "moduleId": "m",
        "properties": {"k": "v"}, "body": {"a": "é"},
    }  # fmt: skip
    assert event_line(event) == '7 T d/m: {"a": "é"}  [k=v]'
    assert event_line({**event, "body": "text", "properties": {}}) == "7 T d/m: text"
