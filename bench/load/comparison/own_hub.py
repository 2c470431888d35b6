"""The recipe of this project's hub: no parent hub, identities and routes from files, plain and TLS listener.

All publishers are devices whose telemetry is routed to one input of each module, the subscribers. One more
device, which does not publish, can keep the control plane busy. Standard library only, like the rest of the
comparison; what the hub needs is in the interpreter that runs it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
import urllib.parse
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from comparison.hub import HubRecipe
from comparison.logins import make_certificate
from comparison.processes import free_port

if TYPE_CHECKING:
    from pathlib import Path

HUB_HOST = "bench.hub"
EDGE, MODULE, INPUT, BUSY = "edge", "sink", "in", "busy"
CONNECTED_CLIENTS_MAX = 10_000
"""More than any scenario connects."""
TOKEN_LIFE_S = 24 * 3600


@dataclass(frozen=True)
class Login:
    """An identity, `device` or `device/module`, and its key."""

    identity: str
    key: bytes

    def token(self, now_s: float) -> str:
        """A SAS token."""
        device, _, module = self.identity.partition("/")
        audience = f"{HUB_HOST}/devices/{device}" + (f"/modules/{module}" if module else "")
        resource, expires_at = urllib.parse.quote(audience, safe=""), int(now_s) + TOKEN_LIFE_S
        digest = hmac.new(self.key, f"{resource}\n{expires_at}".encode(), hashlib.sha256).digest()
        signature = urllib.parse.quote(base64.b64encode(digest), safe="")
        return f"SharedAccessSignature sr={resource}&sig={signature}&se={expires_at}"

    @property
    def username(self) -> str:
        """As clients of the present API version say it."""
        return f"{HUB_HOST}/{self.identity}/?api-version=2021-04-12"

    def client_line(self, now_s: float) -> str:
        """Its line in the generator's client file."""
        device, _, module = self.identity.partition("/")
        entry = {
            "role": "sub" if module else "pub",
            "clientId": self.identity,
            "username": self.username,
            "password": self.token(now_s),
        }
        if module:
            entry["filter"] = f"devices/{device}/modules/{module}/inputs/#"
        else:
            entry["topic"] = f"devices/{device}/messages/events/"
        return json.dumps(entry)

    def authentication(self) -> dict[str, Any]:
        """As the scope API gives it."""
        key = base64.b64encode(self.key).decode()
        return {
            "type": "sas",
            "symmetricKey": {"primaryKey": key, "secondaryKey": key},
            "x509Thumbprint": None,
        }


def make_logins(publishers: int, subscribers: int) -> list[Login]:
    """Devices and modules, with fresh keys."""
    devices = [f"device{n}" for n in range(publishers)]
    modules = [f"{EDGE}/{MODULE}{n}" for n in range(subscribers)]
    return [Login(name, secrets.token_bytes(32)) for name in (*devices, *modules)]


def scope_document(logins: list[Login]) -> dict[str, Any]:
    """What the scope API would answer."""
    scope = f"ms-azure-iot-edge://{EDGE}-1"
    common = {"generationId": "1", "status": "enabled"}
    edge = {"deviceId": EDGE, "authentication": Login(EDGE, secrets.token_bytes(32)).authentication()}
    devices = [
        {**common, **edge, "capabilities": {"iotEdge": True}, "deviceScope": scope, "parentScopes": []}
    ]
    modules = []
    for login in logins:
        device, _, module = login.identity.partition("/")
        entry = {**common, "deviceId": device, "authentication": login.authentication()}
        if module:
            modules.append({**entry, "moduleId": module})
        else:
            extra = {"capabilities": {"iotEdge": False}, "deviceScope": scope, "parentScopes": []}
            devices.append({**entry, **extra})
    return {"devices": devices, "modules": modules, "continuationLink": None}


def desired_document(subscribers: int) -> dict[str, Any]:
    """Desired properties of `$edgeHub`: a route to each module."""
    forwarding = {"timeToLiveSecs": 7200}
    routes = {
        f"load{n}": f'FROM /messages/* INTO BrokeredEndpoint("/modules/{MODULE}{n}/inputs/{INPUT}")'
        for n in range(subscribers)
    }
    return {"schemaVersion": "1.1", "routes": routes, "storeAndForwardConfiguration": forwarding}


def own_recipe(python: str) -> HubRecipe:
    """The recipe; `prepare_own` fills in what is made for each start."""
    return HubRecipe(
        command=[python, "-m", "edgehub"],
        ready_url="",
        clients_file="{work_dir}/clients.jsonl",
        environment={
            "IOTEDGE_IOTHUBHOSTNAME": HUB_HOST,
            "IOTEDGE_DEVICEID": EDGE,
            "IOTEDGE_MODULEID": "$edgeHub",
            "IdentitiesFile": "{work_dir}/identities.json",
            "RoutesFile": "{work_dir}/routes.json",
            "StorageFolder": "{work_dir}/store",
            "MaxConnectedClients": str(CONNECTED_CLIENTS_MAX),
            "mqttSettings__host": "127.0.0.1",
            "httpSettings__enabled": "false",
        },
        plain_port=0,
        tls_port=0,
        ca_file="",
    )


def prepare_own(recipe: HubRecipe, work_dir: Path, publishers: int, subscribers: int = 1) -> HubRecipe:
    """Writes identities, routes, clients and a certificate, and chooses ports."""
    logins, busy = make_logins(publishers, subscribers), Login(BUSY, secrets.token_bytes(32))
    (work_dir / "store").mkdir()
    (work_dir / "identities.json").write_text(json.dumps(scope_document([*logins, busy])))
    (work_dir / "routes.json").write_text(json.dumps(desired_document(subscribers)))
    now_s = time.time()
    lines = "".join(f"{login.client_line(now_s)}\n" for login in logins)
    (work_dir / "clients.jsonl").write_text(lines)
    cert, key = make_certificate(work_dir)
    plain_port, tls_port, metrics_port = free_port(), free_port(), free_port()
    ready = {
        "mqttSettings__port": str(tls_port),
        "mqttSettings__plain_port": str(plain_port),
        "httpSettings__metrics_port": str(metrics_port),
        "EdgeHubDevServerCertificateFile": str(cert),
        "EdgeHubDevServerPrivateKeyFile": str(key),
        "EdgeHubDevTrustBundleFile": str(cert),
    }
    control = {
        "host": "127.0.0.1",
        "port": plain_port,
        "client_id": busy.identity,
        "username": busy.username,
        "password": busy.token(now_s),
        "metrics_url": f"http://127.0.0.1:{metrics_port}/metrics",
    }
    (work_dir / "control.json").write_text(json.dumps(control))
    return replace(
        recipe.with_environment(ready),
        ready_url=f"http://127.0.0.1:{metrics_port}/healthz",
        plain_port=plain_port,
        tls_port=tls_port,
        ca_file=str(cert),
        control=str(work_dir / "control.json"),
    )
