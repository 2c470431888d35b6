"""What a CONNECT packet asks for: user-name grammar and the checks that need no look-up.

Rules and answer codes: heads spec 1.2.1 and 1.2.2. Checking the credential itself comes after and
belongs to the authenticator.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple
from urllib.parse import unquote

from edgehub.common.ids import IdentityId
from edgehub.errors import EdgehubError

_LEGACY_TAIL = "/api-version=2017-06-30/deviceclienttype=microsoft.azure.devices.client/1.5.1-preview-003"
_LEGACY_SEGMENTS = 6
_LEGACY_PROPERTY_AT = len("DeviceClientType=")


class ConnectCode(IntEnum):
    """CONNACK return codes in use (MQTT 3.1.1, 3.2.2.3). 2 and 4 are never sent: SDKs read 4 like 5."""

    ACCEPTED = 0
    UNSUPPORTED_LEVEL = 1
    SERVER_UNAVAILABLE = 3
    NOT_AUTHORIZED = 5


class ConnectRefusedError(EdgehubError):
    """A CONNECT that is answered with a code and closed.

    :param code: CONNACK return code.
    :param reason: for the log; clients only see the code.
    :param claimed: the identity the client asked for, as far as it was readable.
    """

    def __init__(self, code: ConnectCode, reason: str, claimed: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.claimed = claimed


class UsernameError(EdgehubError):
    """A user name outside the grammar."""


class Username(NamedTuple):
    """The parts of a user name that are used; the host is not looked at (M-011)."""

    identity: IdentityId
    client_type: str = ""
    model_id: str | None = None
    auth_chain: str | None = None


class ConnectRequest(NamedTuple):
    """A well-formed CONNECT, not yet authenticated.

    :param token: the SAS token, exactly as sent; empty when the certificate is the credential.
    :param auth_chain: text of an on-behalf-of chain with two or more ids, else None.
    :param certificates: the credential of a client without password, DER, its own first.
    """

    identity: IdentityId
    token: str
    client_type: str
    model_id: str | None
    auth_chain: str | None
    certificates: tuple[bytes, ...] = ()


def parse_username(text: str) -> Username:
    """Reads `host/device[/module]/[?]properties` (heads spec 1.2.1).

    :raises UsernameError: the text is outside the grammar.
    """
    segments = text.split("/")
    if len(segments) == _LEGACY_SEGMENTS and text.casefold().endswith(_LEGACY_TAIL):
        return Username(_identity(segments[1:3]), "/".join(segments[4:])[_LEGACY_PROPERTY_AT:])
    if len(segments) not in (3, 4):
        raise UsernameError(f"expected host/device[/module]/?properties, found {len(segments)} segments")
    properties = segments[-1]
    if not properties.startswith("?") and "api-version=" not in properties:
        raise UsernameError("the last segment has no api-version")
    values = _properties(properties.removeprefix("?"))
    if not values.get("api-version", "").strip():
        raise UsernameError("api-version is missing or blank")
    return Username(
        _identity(segments[1:-1]),
        values.get("DeviceClientType", ""),
        values.get("model-id") or None,
        values.get("auth-chain") or None,
    )


def _identity(segments: list[str]) -> IdentityId:
    device_id = segments[0].strip()
    module_id = segments[1].strip() if len(segments) > 1 else ""
    if not device_id:
        raise UsernameError("the device id is empty")
    return IdentityId(device_id, module_id or None)


def _properties(text: str) -> dict[str, str]:
    """Keys and percent-decoded values; the first of duplicate keys wins (M-012)."""
    values: dict[str, str] = {}
    for pair in text.split("&"):
        key, separator, value = pair.partition("=")
        if separator and key not in values:
            values[key] = unquote(value) if "%" in value else value
    return values


def parse_bare_username(text: str, client_id: str) -> Username | None:
    """`host/client-id` without properties, which IoT Hub takes (iothub spec 1.5.1); None for other forms.

    :raises UsernameError: the device id is empty.
    """
    parts = client_id.split("/")
    if text.partition("/")[2].removesuffix("/") != client_id or len(parts) > 2:
        return None
    return Username(_identity(parts))


def read_connect(
    client_id: str,
    username: str | None,
    password: bytes | None,
    certificates: tuple[bytes, ...] = (),
    *,
    bare: bool = False,
) -> ConnectRequest:
    """Steps 1 to 6 of the order in heads spec 1.2.2; the first failure decides.

    :param certificates: what the client showed in its TLS handshake; a password wins over it (M-018).
    :param bare: whether the properties of the user name may be absent.
    :raises ConnectRefusedError: with the code to answer.
    """
    if not client_id.strip() or username is None or not username.strip():
        raise ConnectRefusedError(
            ConnectCode.SERVER_UNAVAILABLE, "client id or user name is blank", client_id
        )
    try:
        parsed = (parse_bare_username(username, client_id) if bare else None) or parse_username(username)
    except UsernameError as error:
        raise ConnectRefusedError(
            ConnectCode.SERVER_UNAVAILABLE, f"bad user name: {error}", client_id
        ) from None
    claimed = str(parsed.identity)
    if not password and not certificates:
        raise ConnectRefusedError(ConnectCode.NOT_AUTHORIZED, "no password and no certificate", claimed)
    if client_id != claimed:
        raise ConnectRefusedError(
            ConnectCode.NOT_AUTHORIZED, f"client id {client_id!r} is not the identity {claimed!r}", claimed
        )
    if not password:
        # The chain is for tokens only.
        return ConnectRequest(parsed.identity, "", parsed.client_type, parsed.model_id, None, certificates)
    try:
        token = password.decode()
    except UnicodeDecodeError:
        raise ConnectRefusedError(ConnectCode.NOT_AUTHORIZED, "the password is not text", claimed) from None
    chain = parsed.auth_chain if parsed.auth_chain and ";" in parsed.auth_chain else None
    return ConnectRequest(parsed.identity, token, parsed.client_type, parsed.model_id, chain)
