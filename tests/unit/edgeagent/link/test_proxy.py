"""HTTP proxies."""

from __future__ import annotations

import contextlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.link.errors import ConnectError, LinkSettingsError
from edgeagent.link.proxy import ANSWER_BYTES_MAX, Proxy, open_tunnel, parse_proxy


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("http://proxy:8080", Proxy("proxy", 8080)),
        ("proxy.example.net", Proxy("proxy.example.net", 3128)),
        ("HTTP://[::1]:8080/", Proxy("::1", 8080)),
        ("http://u:p%40ss@proxy:1", Proxy("proxy", 1, "dTpwQHNz")),
        ("http://u@proxy:1", Proxy("proxy", 1, "dTo=")),
    ],
)
def test_addresses(text: str, wanted: Proxy) -> None:
    assert parse_proxy(text) == wanted


@pytest.mark.parametrize(
    "text", ["https://u:geheim@p:1", "http://", "http://p:x", "socks5://p:1", "http://[::1"]
)
def test_bad_addresses(text: str) -> None:
    with pytest.raises(LinkSettingsError, match="https_proxy") as caught:
        parse_proxy(text)
    assert "geheim" not in str(caught.value)


def test_credentials_are_in_no_text() -> None:
    assert "dTpw" not in repr(parse_proxy("http://u:p@proxy:1"))


@given(st.text(max_size=40))
def test_anything_else_is_refused(text: str) -> None:
    with contextlib.suppress(LinkSettingsError):
        parse_proxy(text)


def asked(proxy: Proxy, answer: bytes) -> bytes:
    """What the proxy hears; it has answered already."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        open_tunnel(ours, proxy, "hub.example.net", 443)
        return theirs.recv(1000)


def test_the_way_is_asked_for() -> None:
    heard = asked(Proxy("p", 1, "dTpw"), b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n")
    assert heard == (
        b"CONNECT hub.example.net:443 HTTP/1.1\r\nHost: hub.example.net:443\r\n"
        b"Proxy-Authorization: Basic dTpw\r\n\r\n"
    )
    assert Proxy("p", 1).request("::1", 443).startswith(b"CONNECT [::1]:443 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", r"refused the way .*\(407\)"),
        (b"SSH-2.0-x\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200", "gave no answer"),
        (b"x" * (ANSWER_BYTES_MAX + 1), "gave no answer"),
    ],
)
def test_a_way_that_is_refused(answer: bytes, text: str) -> None:
    with pytest.raises(ConnectError, match=text):
        asked(Proxy("p", 1), answer)
