"""Requests of the management API (agent spec 7.4, rows W01, W19 to W22)."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.management.ports import BundleWanted
from edgeagent.management.requests import (
    Act,
    GetModule,
    ListIdentities,
    ListModules,
    ReadLogs,
    TellResources,
    TellSystem,
    read_request,
)
from edgeagent.runtime.logs import LogOptions
from edgeagent.workload.errors import RequestRefused
from edgeagent.workload.http import API_VERSIONS, Request

NOW_S = 1_700_000_000.0


def read(verb: str, target: str, version: str = "2020-07-07") -> Any:
    mark = "&" if "?" in target else "?"
    return read_request(Request(verb, f"{target}{mark}api-version={version}"), NOW_S)


def refused(verb: str, target: str, version: str = "2020-07-07") -> tuple[int, str]:
    with pytest.raises(RequestRefused) as fault:
        read(verb, target, version)
    return fault.value.status, str(fault.value)


@pytest.mark.parametrize(
    ("verb", "target", "wanted"),
    [
        ("GET", "/modules", ListModules()),
        ("GET", "/modules/", ListModules()),
        ("GET", "/modules/a%20b", GetModule("a b")),
        ("POST", "/modules/a/start", Act("a", "start")),
        ("POST", "/modules/a/stop", Act("a", "stop")),
        ("POST", "/modules/a/restart", Act("a", "restart")),
        ("GET", "/identities/", ListIdentities()),
        ("GET", "/systeminfo", TellSystem()),
        ("GET", "/systeminfo/resources", TellResources()),
        ("GET", "/systeminfo/supportbundle", BundleWanted()),
        (
            "GET",
            "/systeminfo/supportbundle?since=1h&until=1700000000&edge_runtime_only=true&iothub_hostname=h",
            BundleWanted(1_699_996_400_000, 1_700_000_000_000, True, "h"),
        ),
        ("GET", "/modules/a/logs", ReadLogs("a", LogOptions())),
        (
            "GET",
            "/modules/a/logs?follow=true&tail=7&since=1%20day&until=2023-11-14T22:13:20Z&timestamps=true",
            ReadLogs("a", LogOptions(7, 1_699_913_600_000, 1_700_000_000_000, True, True)),
        ),
        ("GET", "/modules/a/logs?tail=all&follow=false", ReadLogs("a", LogOptions())),
    ],
)
def test_what_is_served(verb: str, target: str, wanted: Any) -> None:
    assert read(verb, target) == wanted


@pytest.mark.parametrize(
    ("verb", "target"),
    [
        ("POST", "/modules"),
        ("PUT", "/modules/a?start=true"),
        ("DELETE", "/modules/a"),
        ("POST", "/modules/a/prepareupdate"),
        ("POST", "/identities"),
        ("PUT", "/identities/a"),
        ("DELETE", "/identities/a"),
        ("POST", "/device/reprovision"),
    ],
)
def test_w20_what_the_agent_alone_does_is_forbidden(verb: str, target: str) -> None:
    status, message = refused(verb, target)
    assert status == 403
    assert message.startswith("forbidden")


@pytest.mark.parametrize(
    ("verb", "target"),
    [
        ("DELETE", "/modules"),
        ("PATCH", "/modules/a"),
        ("GET", "/modules/a/start"),
        ("POST", "/modules/a/logs"),
        ("GET", "/modules/a/prepareupdate"),
        ("PUT", "/identities"),
        ("GET", "/identities/a"),
        ("POST", "/systeminfo"),
        ("POST", "/systeminfo/resources"),
        ("POST", "/systeminfo/supportbundle"),
        ("GET", "/device/reprovision"),
    ],
)
def test_w01_a_wrong_verb_is_400(verb: str, target: str) -> None:
    assert refused(verb, target) == (400, "method not allowed")


@pytest.mark.parametrize(
    "target", ["/", "/x", "/modules/a/b", "/modules/a/logs/b", "/systeminfo/x", "/device", "/identities/a/b"]
)
def test_w01_an_unknown_path_is_404(target: str) -> None:
    assert refused("GET", target) == (404, "not found")


def test_w01_the_version_of_the_api() -> None:
    with pytest.raises(RequestRefused, match="api-version not specified") as fault:
        read_request(Request("GET", "/modules"), NOW_S)
    assert fault.value.status == 400
    assert refused("GET", "/modules", "2017-01-01") == (400, 'invalid api-version "2017-01-01"')
    for version in API_VERSIONS:
        assert read("GET", "/modules", version) == ListModules()


@pytest.mark.parametrize(
    ("verb", "target", "version"),
    [
        ("GET", "/systeminfo/resources", "2019-10-22"),
        ("GET", "/systeminfo/supportbundle", "2019-11-05"),
        ("POST", "/device/reprovision", "2019-01-30"),
        ("POST", "/modules/a/prepareupdate", "2018-06-28"),
    ],
)
def test_an_endpoint_that_the_version_does_not_have_is_404(verb: str, target: str, version: str) -> None:
    assert refused(verb, target, version) == (404, "not found")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("tail=-1", "tail"),
        ("tail=few", "tail"),
        ("tail=99999999999", "tail"),
        ("tail=%D9%A3", "tail"),
        ("follow=perhaps", "follow"),
        ("since=yesterday", "since"),
        ("until=1x", "until"),
        ("timestamps=1", "timestamps"),
    ],
)
def test_w22_a_parameter_that_cannot_be_read_is_named(query: str, name: str) -> None:
    assert refused("GET", f"/modules/a/logs?{query}") == (400, f"invalid parameter: {name}")


def test_parameters_of_a_support_bundle() -> None:
    assert refused("GET", "/systeminfo/supportbundle?since=x") == (400, "invalid parameter: since")
    assert refused("GET", "/systeminfo/supportbundle?edge_runtime_only=x")[0] == 400


@given(st.text(), st.sampled_from(["GET", "POST", "PUT", "DELETE", "X"]))
def test_any_target_is_read_or_refused(text: str, verb: str) -> None:
    for target in (
        text,
        f"/{text}",
        f"/modules/a/logs?{text}",
        f"/modules/a/logs?api-version=2020-07-07&{text}",
    ):
        with contextlib.suppress(RequestRefused):
            read_request(Request(verb, target), NOW_S)


@given(st.text(), st.sampled_from(["since", "until", "tail", "follow"]))
def test_any_value_is_read_or_refused(text: str, name: str) -> None:
    with contextlib.suppress(RequestRefused):
        read("GET", f"/modules/a/logs?{name}={quote(text)}")
