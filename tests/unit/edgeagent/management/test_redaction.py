"""Support bundles have no secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.management.redaction import redacted_document, redacted_line
from edgeagent.runtime import labels

SECRET = "s3cr3t-value"


@pytest.mark.parametrize(
    "document",
    [
        {"Config": {"Env": [f"DB_PASSWORD={SECRET}", "PATH=/bin"]}},
        {"Config": {"Env": [f"X=HostName=h;SharedAccessKey={SECRET}"]}},
        {"Config": {"Cmd": ["run", f"--password={SECRET}", "x"]}},
        {"Config": {"Cmd": ["run", "--api-key", SECRET, "x"]}, "Args": ["--token", SECRET]},
        {"HostConfig": {"LogConfig": {"Config": {"splunk-token": SECRET}}}},
        {"Config": {"Labels": {"my.password": SECRET}}},
        {"Config": {"Labels": {labels.ENV: json.dumps({"API_KEY": {"value": SECRET}})}}},
        {"Config": {"Labels": {labels.CREATE_OPTIONS: json.dumps({"Env": [f"A_SECRET={SECRET}"]})}}},
        {"Config": {"Labels": {labels.ENV: f"no json {SECRET}"}}},
        {"Credentials": [{"value": SECRET, "x": "-----BEGIN PRIVATE KEY-----"}]},
        {"A": f"-----BEGIN RSA PRIVATE KEY-----{SECRET}"},
    ],
)
def test_secrets_are_hidden(document: dict[str, Any]) -> None:
    shown = json.dumps(redacted_document(document))
    assert SECRET not in shown
    assert "***" in shown


def test_the_rest_is_as_it_was() -> None:
    document = {
        "Id": "1",
        "Args": ["-c", "sleep 1", "--x=1"],
        "Config": {"Env": ["PATH=/bin", "EMPTY=", "NOTHING"], "Tty": False, "N": None, "I": 1},
        "Labels": {labels.ENV: json.dumps({"A": {"value": "b"}})},
    }
    assert redacted_document(document) == document


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"plain sign= x", b"plain sign= x"),
        (b"SharedAccessKey=ab/+=;x", b"SharedAccessKey=***;x"),
        (b"SharedAccessSignature sr=h&sig=ab%3d&se=1", b"SharedAccessSignature sr=h&sig=***&se=1"),
        (b'"https://b/c?sv=1&sig=abc"', b'"https://b/c?sv=1&sig=***"'),
    ],
)
def test_lines(line: bytes, shown: bytes) -> None:
    assert redacted_line(line) == shown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
)


@given(JSON)
def test_any_document_keeps_its_shape(document: Any) -> None:
    shown = redacted_document(document)
    assert type(shown) is type(document)
    if isinstance(document, dict | list):
        assert len(shown) == len(document)


def test_a_document_that_is_too_deep() -> None:
    document: Any = SECRET
    for _ in range(500):
        document = {"a": [document]}
    assert SECRET not in json.dumps(redacted_document(document))


@given(st.text(min_size=1).filter(lambda text: text.strip("*=")))
def test_a_password_is_never_shown(text: str) -> None:
    assert redacted_document({"Env": [f"PASSWORD={text}"]}) == {"Env": ["PASSWORD=***"]}
