"""What the agent asks of the service, on a socket that only its own user may open.

| verb, path | body | answer |
|---|---|---|
| GET `/state` | | who serves, the CA, whether modules have to be restarted |
| GET `/modules` | | `{"modules": [{"moduleId", "generationId", "folder"}]}` |
| PUT `/modules/{id}` | `{"generationId"}`, may be left out | the module |
| DELETE `/modules/{id}` | | nothing |
| POST `/keys` | `{"moduleId", "generationId"}` | `{"primaryKey", "secondaryKey"}` |
| POST `/seal`, `/unseal` | `{"purpose", "data"}` | `{"data"}` |
| POST `/restarted` | `{"ca"}`: fingerprint | nothing |
| POST `/stop` | | nothing |
"""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING, Any

import msgspec

from edgeagent import __version__
from edgeagent.workload import http
from edgeagent.workload.api import module_name
from edgeagent.workload.errors import RegistryError, RequestRefused, SealingError
from edgeagent.workload.http import Answer, Request, from_base64, json_body, to_base64
from edgeagent.workload.registry import check_generation_id, check_module_id
from edgeagent.workload.sealing import seal, unseal

if TYPE_CHECKING:
    from pathlib import Path

    from edgeagent.workload.api import Caller
    from edgeagent.workload.service import WorkloadService

_PURPOSE = re.compile(r"[a-z0-9-]{1,64}")


class RegisterBody(msgspec.Struct, rename="camel"):
    generation_id: str | None = None


class KeysBody(msgspec.Struct, rename="camel"):
    module_id: str
    generation_id: str


class SealBody(msgspec.Struct):
    purpose: str
    data: str


class RestartedBody(msgspec.Struct):
    ca: str


class ControlApi:
    """Answers the agent."""

    def __init__(self, service: WorkloadService) -> None:
        self._service = service

    async def respond(self, request: Request) -> Answer:
        """The answer to a request; errors are answers too."""
        try:
            segments, _ = http.split_target(request.target)
            return await self._route(request, segments)
        except RequestRefused as refused:
            return http.refusal(refused.status, str(refused))
        except RegistryError as error:
            return http.refusal(400, str(error))
        except SealingError as error:
            return http.refusal(422, str(error))
        except OSError as error:
            return http.refusal(500, str(error))

    async def _route(self, request: Request, segments: tuple[str, ...]) -> Answer:
        match (request.verb, *segments):
            case ["GET", "state"]:
                return Answer(200, self._state())
            case ["GET", "modules"]:
                return Answer(200, {"modules": self._modules()})
            case ["PUT", "modules", module_id]:
                return await self._register(request, module_id)
            case ["DELETE", "modules", module_id]:
                await self._service.unregister(module_name(module_id))
                return Answer(204)
            case ["POST", "keys"]:
                return self._keys(request)
            case ["POST", "seal" | "unseal" as name]:
                return await self._seal(request, opens=name == "unseal")
            case ["POST", "restarted"]:
                self._service.registry.acknowledge(json_body(request, RestartedBody).ca)
                return Answer(204)
            case ["POST", "stop"]:
                self._service.stop_asked.set()
                return Answer(204)
        raise http.not_found()

    def _state(self) -> dict[str, Any]:
        service = self._service
        ca = service.issuer.source.ca
        return {
            "version": __version__,
            "pid": os.getpid(),
            "detached": service.detached,
            "settings": service.settings.digest,
            "modules": len(service.registry.modules),
            "renewals": service.registry.renewals,
            "restartDue": service.registry.restart_due,
            "ca": {
                "kind": service.issuer.source.kind,
                "commonName": ca.common_name,
                "fingerprint": ca.fingerprint,
                "notBefore": ca.certificate.not_valid_before_utc.isoformat(),
                "notAfter": ca.certificate.not_valid_after_utc.isoformat(),
                "warning": service.issuer.warning(),
            },
        }

    def _modules(self) -> list[dict[str, str]]:
        folder = self._service.settings.modules_folder
        return [_module(caller, folder / name) for name, caller in self._service.registry.modules.items()]

    async def _register(self, request: Request, module_id: str) -> Answer:
        body = json_body(request, RegisterBody)
        caller, folder = await self._service.register(module_id, body.generation_id)
        return Answer(200, _module(caller, folder))

    def _keys(self, request: Request) -> Answer:
        body = json_body(request, KeysBody)
        check_module_id(body.module_id)
        check_generation_id(body.generation_id)
        primary, secondary = self._service.keys.module_keys(body.module_id, body.generation_id)
        return Answer(200, {"primaryKey": primary, "secondaryKey": secondary})

    async def _seal(self, request: Request, *, opens: bool) -> Answer:
        body = json_body(request, SealBody)
        if not _PURPOSE.fullmatch(body.purpose):
            raise RequestRefused(400, "purpose: expected 1 to 64 small letters, digits and -")
        work = unseal if opens else seal
        data = from_base64("data", body.data)
        # In a thread, as boards without instructions for AES take a while for megabytes.
        done = await asyncio.to_thread(work, self._service.keys.encryption, data, body.purpose)
        return Answer(200, {"data": to_base64(done)})


def _module(caller: Caller, folder: Path) -> dict[str, str]:
    return {
        "moduleId": caller.module_id,
        "generationId": caller.generation_id,
        "folder": str(folder.absolute()),
    }
