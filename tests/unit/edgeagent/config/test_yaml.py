"""The YAML of earlier releases, and TOML made of it (agent spec 8.3)."""

from __future__ import annotations

import contextlib
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.config.old_yaml import convert_yaml
from edgeagent.config.toml_file import parse_config
from edgeagent.config.toml_table import ConfigFileError
from edgeagent.config.toml_text import toml_text
from edgeagent.config.yaml_subset import parse_yaml

KEY = "czNjcmV0LWtleQ=="
OLD = f"""\
# IoT Edge
---
provisioning:
  source: "manual"
  device_connection_string: "HostName=hub.example.net;DeviceId=d;SharedAccessKey={KEY}"   # secret
  dynamic_reprovisioning: false
certificates:
  device_ca_cert: "/etc/ca.pem"
  device_ca_pk: file:///etc/ca.key
agent:
  name: "edgeAgent"
  type: 'docker'
  env:
    RuntimeLogLevel: debug
    Count: 3
    On: true
  config:
    image: "reg.example.net/agent:1"
    auth: {{}}
hostname: "gw"
connect:
  management_uri: "unix:///var/run/iotedge/mgmt.sock"
homedir: "/var/lib/iotedge"
moby_runtime:
  uri: "unix:///var/run/docker.sock"
  network:
    name: "edge"
    ipv6: true
    ipam:
      config:
      - gateway: '172.18.0.1'
        subnet: "172.18.0.0/16"
"""


def test_a_whole_file() -> None:
    new, notes = convert_yaml(parse_yaml(OLD))
    config = parse_config(toml_text(new).encode())
    assert config.warnings == ()
    assert config.provisioning is not None
    assert config.provisioning.device_id == "d"
    assert config.hostname == "gw"
    assert config.agent.image == "reg.example.net/agent:1"
    assert config.agent.env == {"RuntimeLogLevel": "debug", "Count": "3", "On": "true"}
    assert config.edge_ca is not None
    assert str(config.edge_ca.key) == "/etc/ca.key"
    assert (config.network.name, config.network.pools[0].gateway) == ("edge", "172.18.0.1")
    assert [note.partition(":")[0] for note in notes] == [
        "provisioning.dynamic_reprovisioning",
        "connect",
        "homedir",
    ]


def test_what_cannot_be_converted() -> None:
    with pytest.raises(ConfigFileError, match="external provisioning is not supported"):
        convert_yaml({"provisioning": {"source": "external"}})
    with pytest.raises(ConfigFileError, match="device_connection_string: is missing"):
        convert_yaml({"provisioning": {"source": "manual"}})
    with pytest.raises(ConfigFileError, match="agent: expected a map"):
        convert_yaml({"agent": 1})
    new, _ = convert_yaml({"provisioning": {"source": "dps", "scope_id": "x"}})
    with pytest.raises(ConfigFileError, match="dps"):
        parse_config(toml_text(new).encode())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("a: 1\nb: -2", {"a": 1, "b": -2}),
        ("a: ~\nb:\nc: null", {"a": None, "b": None, "c": None}),
        ("a: 'it''s'\nb: \"x\\ty\"", {"a": "it's", "b": "x\ty"}),
        ('a: "x # y" # z', {"a": "x # y"}),
        ("a: http://x#y", {"a": "http://x#y"}),
        ("a:\n  - 1\n  - b\n  - c: 2\n    d: 3", {"a": [1, "b", {"c": 2, "d": 3}]}),
        ('"a b": c d', {"a b": "c d"}),
        ("a: []\nb: {}", {"a": [], "b": {}}),
        ("  a:\n    b: c\n  d: e", {"a": {"b": "c"}, "d": "e"}),
    ],
)
def test_yaml(text: str, value: Any) -> None:
    assert parse_yaml(text) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a", "line 1: expected name: value"),
        ("- a", "line 1: expected name: value"),
        ("a: 1\n\ta: 2", "line 2: is indented with a tab"),
        ("a: 1\n  b: 2", "line 2: is indented more"),
        ("  a: 1\nb: 2", "line 2: is indented otherwise"),
        ("a: 1\na: 2", 'line 2: has "a" for the second time'),
        ("a: &x 1", 'line 1: "&" is YAML that is not read here'),
        ("a: |\n  b", "line 1"),
        ("a: {b: 1}", "line 1"),
        ('a: "b', "line 1: has a quotation mark"),
        ("a:\n  -", "line 2: expected a value"),
        ("\n".join(f"{' ' * n}a:" for n in range(40)), "line 21: is more than 20 levels"),
    ],
)
def test_yaml_that_is_not_read(text: str, why: str) -> None:
    with pytest.raises(ConfigFileError, match=why):
        parse_yaml(text)


@given(st.integers(0, len(OLD)), st.text(max_size=5))
def test_cut_and_changed_yaml_gives_no_other_error(at: int, noise: str) -> None:
    for text in (OLD[:at] + noise, OLD[:at] + noise + OLD[at:]):
        with contextlib.suppress(ConfigFileError):
            parse_config(toml_text(convert_yaml(parse_yaml(text))[0]).encode())


@given(st.text(alphabet="ab:- \n\"'#{}[]&|\t"))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigFileError):
        parse_yaml(text)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUE = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXT, below, max_size=3),
)


@given(st.dictionaries(TEXT, VALUE))
def test_toml_is_read_back_as_it_was(values: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(values)) == values
