"""Client of the workload API: signs with the hub's key, issues its server certificate, hands out trust.

The agent (or the security daemon of the original) serves it on a unix socket; agent spec 7.3. Bodies are
small JSON; every call opens its own connection, for the server keeps few.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from edgehub.errors import EdgehubError

API_VERSION = "2020-07-07"
CALL_TIMEOUT_S = 30.0
ANSWER_BYTES_MAX = 1024 * 1024


class WorkloadError(EdgehubError):
    """The workload API did not answer, or not with what was asked for."""


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A server certificate: PEM chain, leaf first, and PEM key."""

    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    expires: str = ""


class WorkloadClient:
    """Calls for one module identity.

    :param uri: `unix:///path/to/socket` or `http://host[:port]`.
    :raises WorkloadError: another scheme.
    """

    def __init__(self, uri: str, module_id: str, generation_id: str) -> None:
        parts = urlsplit(uri)
        if parts.scheme not in ("unix", "http"):
            raise WorkloadError(f"IOTEDGE_WORKLOADURI={uri}: expected unix:///path or http://host")
        self._socket_path = (parts.netloc + parts.path) if parts.scheme == "unix" else None
        self._base = (
            "http://workload" if self._socket_path else f"http://{parts.netloc}{parts.path.rstrip('/')}"
        )
        self._module = f"/modules/{quote(module_id, safe='')}/genid/{quote(generation_id, safe='')}"

    async def sign(self, data: bytes) -> bytes:
        """HMAC-SHA256 of the data under the module's primary key."""
        body = {"keyId": "primary", "algo": "HMACSHA256", "data": base64.b64encode(data).decode()}
        answer = await self._call("POST", f"{self._module}/sign", body)
        try:
            return base64.b64decode(_text(answer, "digest"), validate=True)
        except ValueError:
            raise WorkloadError("the workload API answered a digest that is not base64") from None

    async def server_certificate(self, common_name: str, expires: str) -> IssuedCertificate:
        """A fresh server certificate.

        :param expires: wanted end of validity, ISO 8601; the server may choose an earlier one.
        """
        body = {"commonName": common_name, "expiration": expires}
        answer = await self._call("POST", f"{self._module}/certificate/server", body)
        key = answer.get("privateKey")
        if not isinstance(key, dict):
            raise WorkloadError("the workload API answered a certificate without private key")
        return IssuedCertificate(
            _text(answer, "certificate").encode(), _text(key, "bytes").encode(), _text(answer, "expiration")
        )

    async def trust_bundle(self) -> bytes:
        """PEM text of the certificates that modules trust."""
        return _text(await self._call("GET", "/trust-bundle", None), "certificate").encode()

    async def _call(self, method: str, path: str, body: dict[str, str] | None) -> dict[str, Any]:
        import aiohttp  # noqa: PLC0415 - only hubs under an agent need it here
        import yarl  # noqa: PLC0415 - comes with aiohttp; as it is, without decoding `%24`

        connector = aiohttp.UnixConnector(self._socket_path) if self._socket_path else aiohttp.TCPConnector()
        timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)
        data = msgspec.json.encode(body) if body is not None else None
        url = yarl.URL(f"{self._base}{path}?api-version={API_VERSION}", encoded=True)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.request(
                    method, url, data=data, headers={"Content-Type": "application/json"}
                ) as answer,
            ):
                raw = bytearray()
                async for chunk in answer.content.iter_any():
                    raw += chunk
                    if len(raw) > ANSWER_BYTES_MAX:
                        raise WorkloadError(
                            f"workload API, {method} {path}: more than {ANSWER_BYTES_MAX} bytes"
                        )
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise WorkloadError(f"workload API, {method} {path}: {error or type(error).__name__}") from None
        return _decode(status, bytes(raw), f"{method} {path}")


def _decode(status: int, raw: bytes, what: str) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        answer = None
    if status not in (200, 201):
        message = answer.get("message") if isinstance(answer, dict) else None
        raise WorkloadError(f"workload API, {what}: status {status}{f', {message}' if message else ''}")
    if not isinstance(answer, dict):
        raise WorkloadError(f"workload API, {what}: the answer is not a JSON object")
    return answer


def _text(answer: dict[str, Any], key: str) -> str:
    value = answer.get(key)
    if not isinstance(value, str):
        raise WorkloadError(f"the workload API answered without {key!r}")
    return value
