"""Whose credentials a pull takes, and how they are sent (agent spec 3.1, 3.6). Pure."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from edgeagent.manifest.images import registry_of
from edgeagent.model.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgeagent.model.module import RegistryCredentials


def credentials_for(image: str, *sources: Iterable[RegistryCredentials]) -> RegistryCredentials | None:
    """The first whose address is the registry of the image, in any case (row C13).

    :param sources: those of the deployment first, then those of the agent's settings.
    """
    registry = registry_of(image)
    if registry is None:
        return None
    for source in sources:
        for credentials in source:
            if credentials.address.strip().lower() == registry.lower():
                return credentials
    return None


def auth_header(credentials: RegistryCredentials | None) -> str:
    """Value of `X-Registry-Auth`: base64url JSON, empty without credentials."""
    if credentials is None:
        return ""
    content = {
        "username": credentials.username,
        "password": credentials.password,
        "serveraddress": credentials.address,
    }
    return base64.urlsafe_b64encode(canonical_json(content)).decode()
