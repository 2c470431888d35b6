"""Row W01 and the conventions of agent spec 7.1."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.workload.errors import RequestRefused
from edgeagent.workload.http import (
    API_VERSIONS,
    Answer,
    Request,
    check_api_version,
    check_verb,
    from_base64,
    json_body,
    refusal,
    split_target,
)


class Body(msgspec.Struct):
    data: str


@pytest.mark.parametrize(
    ("target", "segments", "query"),
    [
        ("/", ("",), {}),
        ("/modules/", ("modules", ""), {}),
        ("/modules/%24edgeHub/genid/1", ("modules", "$edgeHub", "genid", "1"), {}),
        ("/a%2Fb?api-version=1", ("a/b",), {"api-version": "1"}),
        ("/a?x=1&x=2&y", ("a",), {"x": "1", "y": ""}),
        ("/a?q=%C3%A9#part", ("a",), {"q": "é"}),
        ("//host/a", ("", "host", "a"), {}),
    ],
)
def test_targets(target: str, segments: tuple[str, ...], query: dict[str, str]) -> None:
    """Row W14 among them: segments are decoded one by one."""
    assert split_target(target) == (segments, query)


@pytest.mark.parametrize("target", ["", "*", "http://host/modules", "/%FF", "modules"])
def test_targets_that_are_no_paths(target: str) -> None:
    with pytest.raises(RequestRefused, match="not found") as refused:
        split_target(target)
    assert refused.value.status == 404


def test_too_many_query_fields() -> None:
    assert split_target("/a?" + "&".join(f"x{n}=1" for n in range(20)))
    with pytest.raises(RequestRefused, match="more than 20") as refused:
        split_target("/a?" + "&".join(f"x{n}=1" for n in range(21)))
    assert refused.value.status == 400


@given(st.text(max_size=200))
def test_random_targets_raise_their_own_error_alone(target: str) -> None:
    with suppress(RequestRefused):
        segments, query = split_target(f"/{target}")
        check_api_version(query)
        assert segments


@pytest.mark.parametrize("version", API_VERSIONS)
def test_w01_known_versions(version: str) -> None:
    """Row W01."""
    assert check_api_version({"api-version": version}) == version


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({}, "api-version not specified"),
        ({"API-VERSION": "2018-06-28"}, "api-version not specified"),
        ({"api-version": ""}, 'invalid api-version ""'),
        ({"api-version": "2018-06-29"}, 'invalid api-version "2018-06-29"'),
        ({"api-version": "x" * 100}, f'invalid api-version "{"x" * 64}"'),
    ],
)
def test_w01_bad_versions(query: dict[str, str], text: str) -> None:
    """Row W01."""
    with pytest.raises(RequestRefused) as refused:
        check_api_version(query)
    assert (refused.value.status, str(refused.value)) == (400, text)


def test_w01_wrong_verb() -> None:
    """Row W01: 400, not 405."""
    check_verb(Request("GET", "/"), "GET")
    with pytest.raises(RequestRefused, match="method not allowed") as refused:
        check_verb(Request("PUT", "/"), "GET", "POST")
    assert refused.value.status == 400


@pytest.mark.parametrize("kind", [None, "application/json", "Application/JSON; charset=utf-8"])
def test_w03_what_counts_as_json(kind: str | None) -> None:
    """Row W03."""
    assert json_body(Request("POST", "/", kind, b'{"data":"x","more":1}'), Body) == Body("x")


@pytest.mark.parametrize(
    ("verb", "kind", "body", "status", "text"),
    [
        ("POST", "text/plain", b"{}", 400, "missing request body"),
        ("DELETE", "", b"{}", 400, "missing request body"),
        ("PUT", "text/plain", b"{}", 415, "request body must be application/json"),
        ("POST", None, b"", 400, "missing request body"),
        ("POST", None, b"{", 422, "request body: "),
        ("POST", None, b"[]", 422, "Expected `object`"),
        ("POST", None, b"{}", 422, "missing required field `data`"),
        ("POST", None, b'{"data":1}', 422, "Expected `str`"),
        ("POST", None, b'{"data":"\xff"}', 422, "request body: "),
        ("POST", None, b"[" * 100_000, 422, "request body: "),
    ],
)
def test_bodies_that_are_refused(verb: str, kind: str | None, body: bytes, status: int, text: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        json_body(Request(verb, "/", kind, body), Body)
    assert refused.value.status == status
    assert text in str(refused.value)


@given(
    st.binary(max_size=100) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_random_bodies_raise_their_own_error_alone(body: bytes) -> None:
    with suppress(RequestRefused):
        json_body(Request("POST", "/", None, body), Body)


def test_w05_base64() -> None:
    """Row W05."""
    assert from_base64("data", "eA==") == b"x"
    assert from_base64("data", "") == b""
    for text in ("eA", "eA=", "e A==", "-_==", "é", "eA==\n"):
        with pytest.raises(RequestRefused, match="invalid parameter: data") as refused:
            from_base64("data", text)
        assert refused.value.status == 400


@given(st.text(max_size=50))
def test_random_base64_raises_its_own_error_alone(text: str) -> None:
    with suppress(RequestRefused):
        from_base64("data", text)


@pytest.mark.parametrize(("content", "encoded"), [(None, b""), ({"a": 1}, b'{"a":1}'), ([], b"[]")])
def test_answers(content: Any, encoded: bytes) -> None:
    assert Answer(200, content).encoded() == encoded
    assert refusal(404, "not found").encoded() == b'{"message":"not found"}'
