"""HTTPS to a running hub, for the command line."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from edgehub.errors import EdgehubError
from edgehub.protocol.sas import build_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgehub.common.json_types import Json

API_VERSION: Final = "2021-04-12"
TOKEN_SECS: Final = 3600
REQUEST_SECS: Final = 30.0
NO_CONTENT: Final = 204


class ClientError(EdgehubError):
    """A command cannot be done; the text is shown to the person as it is."""


@dataclass(frozen=True, slots=True)
class Login:
    """How to reach and convince a hub.

    :ivar hostname: name in tokens and certificates.
    :ivar address: where to connect to.
    :ivar ca_file: authority to trust, None for the system's.
    """

    hostname: str
    address: str
    port: int
    policy: str
    key: str
    ca_file: Path | None


def parse_connection_string(text: str) -> dict[str, str]:
    """Fields of `Name=value;Name=value`, names in lower case.

    :raises ClientError: a field without value.
    """
    fields: dict[str, str] = {}
    for part in text.strip().strip(";").split(";"):
        name, separator, value = part.partition("=")
        if not separator or not value:
            raise ClientError(f"connection string: {name or 'a field'} has no value")
        fields[name.strip().lower()] = value.strip()
    return fields


def resolve_login(
    login: str | None, data_dir: Path | None, address: str | None, ca_file: Path | None
) -> Login:
    """Login from a connection string, or from the data folder of a hub on this machine.

    :raises ClientError: neither is given, or the folder has no running hub.
    """
    endpoint: dict[str, Any] = {}
    if data_dir is not None:
        try:
            endpoint = json.loads((data_dir / "endpoint.json").read_text())
            login = login or (data_dir / "iothubowner.txt").read_text()
        except (OSError, ValueError) as error:
            raise ClientError(
                f"{data_dir} is not the data folder of a hub that was started: {error}"
            ) from None
    if not login:
        raise ClientError(
            "give --login CONNECTION_STRING or --data-dir DIR (or IOTHUB_LOGIN or IOTHUB_DATA_DIR)"
        )
    fields = parse_connection_string(login)
    missing = [name for name in ("hostname", "sharedaccesskeyname", "sharedaccesskey") if name not in fields]
    if missing:
        raise ClientError(f"the connection string lacks {', '.join(missing)}")
    hostname = fields["hostname"]
    host, port = (
        _split_address(address)
        if address
        else (endpoint.get("address", hostname), endpoint.get("httpsPort", 443))
    )
    if ca_file is None and endpoint.get("caFile"):
        ca_file = Path(endpoint["caFile"])
    return Login(hostname, host, port, fields["sharedaccesskeyname"], fields["sharedaccesskey"], ca_file)


def _split_address(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator:
        return text, 443
    if not port.isdigit() or not host:
        raise ClientError(f"--address must be HOST:PORT, not {text!r}")
    return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True)
class Locked:
    """Something the hub handed out until it is settled.

    :ivar lock_token: names it when it is settled.
    """

    lock_token: str
    value: Any


class _Connection(http.client.HTTPSConnection):
    """Connects to one address but checks the certificate for the hub's own name."""

    def __init__(self, login: Login, context: ssl.SSLContext, timeout: float | None) -> None:
        super().__init__(login.address, login.port, context=context, timeout=timeout)
        self._hub_context = context
        self._hub_name = login.hostname

    def connect(self) -> None:
        """Opens TCP and TLS."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._hub_context.wrap_socket(self.sock, server_hostname=self._hub_name)


class HubClient:
    """Requests to a hub.

    :raises ClientError: from every call, with a text for people.
    """

    def __init__(self, login: Login) -> None:
        self._login = login
        try:
            self._context = ssl.create_default_context(cafile=login.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ClientError(f"cannot read the authority {login.ca_file}: {error}") from None

    @property
    def hostname(self) -> str:
        """Name of the hub."""
        return self._login.hostname

    def _open_json(
        self, method: str, path: str, body: Json, if_match: str | None, timeout: float | None
    ) -> tuple[_Connection, http.client.HTTPResponse]:
        headers = {}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json; charset=utf-8"
        if if_match is not None:
            headers["If-Match"] = if_match
        return self._open(method, path, data, headers, timeout)

    def _open(
        self, method: str, path: str, data: bytes | None, more: dict[str, str], timeout: float | None
    ) -> tuple[_Connection, http.client.HTTPResponse]:
        login = self._login
        token = build_token(login.hostname, int(time.time()) + TOKEN_SECS, key=login.key, policy=login.policy)
        headers = {"Authorization": token, "Host": login.hostname, "User-Agent": "iothub-cli", **more}
        encoded = {name: value.encode() for name, value in headers.items()}
        connection = _Connection(login, self._context, timeout)
        separator = "&" if "?" in path else "?"
        try:
            connection.request(method, f"{path}{separator}api-version={API_VERSION}", data, encoded)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            distrusted = isinstance(error, ssl.SSLCertVerificationError)
            advice = "; name the authority to trust with --ca-file" if distrusted else ""
            raise ClientError(
                f"cannot reach {login.hostname} at {login.address}:{login.port}: {error}{advice}"
            ) from None
        except ValueError as error:
            # A header is one line; whoever gave more reads why it was not sent.
            connection.close()
            raise ClientError(f"the request cannot be sent: {error}") from None
        if response.status >= 400:
            message = _error_text(response)
            connection.close()
            raise ClientError(message)
        return connection, response

    def call(
        self,
        method: str,
        path: str,
        body: Json = None,
        if_match: str | None = None,
        *,
        wait_s: float = 0.0,
    ) -> Json:
        """One request; the decoded JSON answer, None when it is empty.

        :param wait_s: how long the hub may take beyond the usual, because it waits for somebody else.
        """
        connection, response = self._open_json(method, path, body, if_match, REQUEST_SECS + wait_s)
        return _read_json(connection, response)

    def post_bytes(self, path: str, data: bytes, headers: dict[str, str]) -> None:
        """Posts something else than JSON."""
        _read_json(*self._open("POST", path, data, headers, REQUEST_SECS))

    def take_locked(self, path: str) -> Locked | None:
        """The next of something that the hub hands out; None when there is none."""
        connection, response = self._open("GET", path, None, {}, REQUEST_SECS)
        token = (response.getheader("ETag") or "").strip('"')
        value = _read_json(connection, response)
        return None if response.status == NO_CONTENT else Locked(token, value)

    def stream(self, path: str, timeout: float | None) -> Iterator[str | None]:
        """Lines of an endless answer; None when `timeout` seconds passed in all, then the end."""
        deadline = None if timeout is None else time.monotonic() + timeout
        connection, response = self._open("GET", path, None, {}, REQUEST_SECS)
        sock = connection.sock
        try:
            while True:
                if deadline is not None and sock is not None:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        yield None
                        return
                    sock.settimeout(left)
                line = response.readline()
                if not line:
                    return
                if line.strip():
                    yield line.decode()
        except TimeoutError:
            # With --timeout this is the end asked for; without it the hub fell silent, which its idle lines
            # rule out.
            if deadline is None:
                raise ClientError("the hub has gone silent") from None
            yield None
        except (OSError, http.client.HTTPException) as error:
            raise ClientError(f"the stream broke: {error}") from None
        finally:
            connection.close()


def _read_json(connection: _Connection, response: http.client.HTTPResponse) -> Json:
    try:
        raw = response.read()
        return json.loads(raw) if raw else None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ClientError(f"the hub's answer cannot be read: {error}") from None
    finally:
        connection.close()


def _error_text(response: http.client.HTTPResponse) -> str:
    code = response.getheader("iothub-errorcode") or response.reason
    try:
        message = str(json.loads(response.read())["Message"])
        # Of newer operations the message is JSON itself.
        structured = message.startswith("{")
        text = json.loads(message)["message"] if structured else message.partition(";")[2] or message
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        text = ""
    return f"the hub answered {response.status} {code}: {text}"


def segment(identity: str) -> str:
    """An id inside a path; bytes that are no text go to the hub as they are, which refuses them."""
    return quote(identity, safe="", errors="surrogateescape")


def identity_path(base: str, device: str, module: str | None = None) -> str:
    """`/devices/d` or `/twins/d/modules/m`."""
    path = f"/{base}/{segment(device)}"
    return path if module is None else f"{path}/modules/{segment(module)}"


def device_connection_string(hostname: str, identity: dict[str, Any], gateway: str | None = None) -> str:
    """Connection string of a device or module view.

    :raises ClientError: it has no symmetric key.
    """
    key = ((identity.get("authentication") or {}).get("symmetricKey") or {}).get("primaryKey")
    name = (
        f"{identity['deviceId']}/{identity['moduleId']}" if identity.get("moduleId") else identity["deviceId"]
    )
    if not key:
        kind = (identity.get("authentication") or {}).get("type")
        hint = "; it connects with its certificate" if kind in ("selfSigned", "certificateAuthority") else ""
        raise ClientError(f"{name} has no symmetric key, so it has no connection string{hint}")
    parts = [f"HostName={hostname}", f"DeviceId={identity['deviceId']}"]
    if identity.get("moduleId"):
        parts.append(f"ModuleId={identity['moduleId']}")
    parts.append(f"SharedAccessKey={key}")
    if gateway:
        parts.append(f"GatewayHostName={gateway}")
    return ";".join(parts)
