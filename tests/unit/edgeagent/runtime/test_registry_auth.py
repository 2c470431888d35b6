"""Whose credentials a pull takes (rows C13, C14)."""

from __future__ import annotations

import base64
import json

import pytest

from edgeagent.model.module import RegistryCredentials
from edgeagent.runtime.registry_auth import auth_header, credentials_for

REGISTRY = RegistryCredentials("Reg.Example.net", "u", "p")
HUB = RegistryCredentials("https://index.docker.io/v1/", "h", "q")
LOCAL = RegistryCredentials("localhost:5000", "l", "r")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("reg.example.net/x:1", REGISTRY),
        ("REG.EXAMPLE.NET/a/b:1", REGISTRY),
        ("user/x:1", HUB),
        ("localhost:5000/x:1", LOCAL),
        ("other.example.net/x:1", None),
        ("reg.example.net:443/x:1", None),
        ("alpine:latest", None),
    ],
)
def test_c13_c14_chosen_by_domain_in_any_case(image: str, expected: RegistryCredentials | None) -> None:
    assert credentials_for(image, [REGISTRY, HUB, LOCAL]) == expected


def test_c13_the_deployment_counts_before_the_settings() -> None:
    of_settings = RegistryCredentials("reg.example.net", "settings", "s")
    assert credentials_for("reg.example.net/x:1", [REGISTRY], [of_settings]) == REGISTRY
    assert credentials_for("reg.example.net/x:1", [HUB], [of_settings]) == of_settings
    assert credentials_for("reg.example.net/x:1") is None


def test_c13_the_header_is_base64url_json() -> None:
    header = auth_header(RegistryCredentials("reg.example.net", "üser", "p>>?~~"))
    assert not set(header) & set("+/")
    assert json.loads(base64.urlsafe_b64decode(header)) == {
        "username": "üser",
        "password": "p>>?~~",
        "serveraddress": "reg.example.net",
    }
    assert auth_header(None) == ""
