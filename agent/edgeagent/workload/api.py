"""The workload API without I/O: from a request to an answer, or to what has to be issued (agent spec 7.3).

The socket says who calls: each module has its own (agent spec 7.2, section 11 row 11). Names in the path must
be those of the caller, and so must the generation id (section 11 row 10).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import msgspec

from edgeagent.workload import http
from edgeagent.workload.certificates import (
    CertificateWanted,
    IdentityWanted,
    IssuedCertificate,
    ServerWanted,
    check_host_name,
)
from edgeagent.workload.errors import RequestRefused, SealingError
from edgeagent.workload.http import Answer, Request, from_base64, json_body, to_base64
from edgeagent.workload.keys import MasterKeys, sign
from edgeagent.workload.sealing import check_iv, decrypt, encrypt, module_context

TRUST_BUNDLE_NAME = "aziot-edged-trust-bundle"


@dataclass(frozen=True, slots=True)
class Caller:
    """The module that a socket belongs to.

    :param module_id: with `$` for system modules.
    """

    module_id: str
    generation_id: str

    @property
    def name(self) -> str:
        """Name of the module and of its folder: without `$`."""
        return module_name(self.module_id)


def module_name(module_id: str) -> str:
    """`$edgeHub` is the identity of the module `edgeHub`."""
    return module_id.removeprefix("$")


class Trust(Protocol):
    """Certificates that modules trust."""

    def trust_bundle(self) -> str | None: ...

    def manifest_trust_bundle(self) -> str: ...

    @property
    def ca_common_name(self) -> str: ...


class SignBody(msgspec.Struct):
    """Only the data counts; key and algorithm are always the same."""

    data: str


class EncryptBody(msgspec.Struct, rename="camel"):
    plaintext: str
    initialization_vector: str


class DecryptBody(msgspec.Struct, rename="camel"):
    ciphertext: str
    initialization_vector: str


class ServerBody(msgspec.Struct, rename="camel"):
    """The expiration is ignored: all certificates have the same validity."""

    common_name: str


Outcome: TypeAlias = Answer | CertificateWanted
_Operation: TypeAlias = Callable[["WorkloadApi", Request, Caller], Outcome]


class WorkloadApi:
    """Answers requests.

    :param hub_host: host name of the hub, for identity certificates.
    :param list_modules: items of `GET /modules`.
    """

    def __init__(
        self,
        keys: MasterKeys,
        trust: Trust,
        hub_host: str,
        device_id: str,
        list_modules: Callable[[], Sequence[Any]],
    ) -> None:
        self._keys = keys
        self._trust = trust
        self._hub_host = hub_host
        self._device_id = device_id
        self._list_modules = list_modules

    def respond(self, request: Request, caller: Caller) -> Outcome:
        """The answer, or the certificate that it takes; the latter is answered with :func:`issued_answer`."""
        try:
            segments, query = http.split_target(request.target)
            http.check_api_version(query)
            return self._route(request, segments, caller)
        except RequestRefused as refused:
            return http.refusal(refused.status, str(refused))

    def _route(self, request: Request, segments: tuple[str, ...], caller: Caller) -> Outcome:
        match segments:
            case ["modules"] | ["modules", ""]:
                return self._get(request, {"modules": self._list_modules()})
            case ["trust-bundle"]:
                return self._trust_bundle(request)
            case ["manifest-trust-bundle"]:
                return self._get(request, {"certificate": self._trust.manifest_trust_bundle()})
            case ["modules", module_id, "certificate", "identity"]:
                http.check_verb(request, "POST")
                _check_caller(module_id, caller)
                return IdentityWanted(caller.module_id, self._hub_host, self._device_id)
            case ["modules", module_id, "genid", generation_id, *rest]:
                operation = _OPERATIONS.get("/".join(rest))
                if operation is None:
                    raise http.not_found()
                http.check_verb(request, "POST")
                _check_caller(module_id, caller)
                _check_generation(generation_id, caller)
                return operation(self, request, caller)
        raise http.not_found()

    def _get(self, request: Request, content: dict[str, Any]) -> Answer:
        http.check_verb(request, "GET")
        return Answer(200, content)

    def _trust_bundle(self, request: Request) -> Answer:
        http.check_verb(request, "GET")
        bundle = self._trust.trust_bundle()
        if bundle is None:
            raise RequestRefused(404, f'certificate "{TRUST_BUNDLE_NAME}" not found')
        return Answer(200, {"certificate": bundle})

    def _sign(self, request: Request, caller: Caller) -> Answer:
        body = json_body(request, SignBody, "missing parameter: request body")
        key = self._keys.module_key(caller.module_id, caller.generation_id)
        return Answer(200, {"digest": to_base64(sign(key, from_base64("data", body.data)))})

    def _encrypt(self, request: Request, caller: Caller) -> Answer:
        body = json_body(request, EncryptBody)
        plaintext = from_base64("plaintext", body.plaintext)
        iv = _iv(body.initialization_vector)
        context = module_context(caller.module_id, caller.generation_id)
        return Answer(200, {"ciphertext": to_base64(encrypt(self._keys.encryption, iv, plaintext, context))})

    def _decrypt(self, request: Request, caller: Caller) -> Answer:
        body = json_body(request, DecryptBody)
        ciphertext = from_base64("ciphertext", body.ciphertext)
        iv = _iv(body.initialization_vector)
        context = module_context(caller.module_id, caller.generation_id)
        try:
            plaintext = decrypt(self._keys.encryption, iv, ciphertext, context)
        except SealingError as error:
            raise RequestRefused(500, str(error)) from None
        return Answer(200, {"plaintext": to_base64(plaintext)})

    def _server_certificate(self, request: Request, caller: Caller) -> CertificateWanted:
        body = json_body(request, ServerBody)
        try:
            check_host_name(body.common_name, self._trust.ca_common_name)
        except ValueError as error:
            raise RequestRefused(400, f"invalid parameter: commonName: {error}") from None
        return ServerWanted(body.common_name, caller.name)


_OPERATIONS: dict[str, _Operation] = {
    "sign": WorkloadApi._sign,
    "encrypt": WorkloadApi._encrypt,
    "decrypt": WorkloadApi._decrypt,
    "certificate/server": WorkloadApi._server_certificate,
}


def issued_answer(issued: IssuedCertificate) -> Answer:
    """The certificate object of the API."""
    return Answer(
        201,
        {
            "privateKey": {"type": "key", "bytes": issued.key_pem},
            "certificate": issued.chain_pem,
            "expiration": issued.not_after.isoformat(timespec="seconds"),
        },
    )


def module_item(name: str) -> dict[str, Any]:
    """One item of `GET /modules` for a module of which only the name is known (agent spec 7.4)."""
    return {
        "id": "id",
        "name": name,
        "type": "docker",
        "config": {"settings": {}, "env": []},
        "status": {"runtimeStatus": {"status": "unknown"}},
    }


def _check_caller(module_id: str, caller: Caller) -> None:
    """:raises RequestRefused: 403, another module's name (row W13)."""
    if module_name(module_id) != caller.name:
        raise RequestRefused(403, "forbidden")


def _check_generation(generation_id: str, caller: Caller) -> None:
    """:raises RequestRefused: 403, an identity that was replaced since the container was made."""
    if generation_id != caller.generation_id:
        raise RequestRefused(403, "forbidden: this is not the generation id of the module")


def _iv(text: str) -> bytes:
    iv = from_base64("initializationVector", text)
    try:
        check_iv(iv)
    except ValueError as error:
        raise RequestRefused(400, f"invalid parameter: initializationVector: {error}") from None
    return iv
