"""The `iothub` program as a person or a script uses it."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.upstream.client import AmqpUpstream
from edgehub.upstream.settings import UpstreamSettings
from edgehub.upstream.tokens import SignedTokens
from iothub.cli import main
from iothub.telemetry.event import events_of
from iothub.telemetry.log import TelemetryLog
from testkit.x509 import issue
from unit.edgehub.upstream.upstream_fakes import FakeSource

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON_ROOT = Path(__file__).parents[2] / "python"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PYTHON_ROOT), "COLUMNS": "200", "NO_COLOR": "1"}


@dataclass
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str


def run(*arguments: str, data_dir: Path | None = None) -> Done:
    """Runs a command in this process, as the program would."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["iothub", *arguments])
        patch.setenv("COLUMNS", "200")
        patch.setenv("NO_COLOR", "1")
        patch.delenv("IOTHUB_DATA_DIR", raising=False)
        if data_dir is not None:
            patch.setenv("IOTHUB_DATA_DIR", str(data_dir))
        with pytest.raises(SystemExit) as ended:
            main()
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


class Serving:
    """A hub process."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        command = [
            sys.executable,
            "-m",
            "iothub",
            "serve",
            "--data-dir",
            str(data_dir),
            "--hostname",
            "localhost",
        ]
        command += [
            "--host",
            "127.0.0.1",
            "--amqp-port",
            "0",
            "--https-port",
            "0",
            "--mqtt-port",
            "0",
            "--json",
        ]
        self.process = subprocess.Popen(
            command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.ready: dict[str, Any] = json.loads(self.process.stdout.readline())

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        return code


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    serving = Serving(tmp_path_factory.mktemp("hub"))
    yield serving
    if serving.process.poll() is None:
        serving.stop()


def test_ready_line_and_files(hub: Serving) -> None:
    assert hub.ready["amqpPort"] > 0
    assert hub.ready["httpsPort"] > 0
    assert hub.ready["mqttPort"] > 0
    assert json.loads((hub.data_dir / "endpoint.json").read_text())["mqttPort"] == hub.ready["mqttPort"]
    assert (hub.data_dir / "mqtt").stat().st_mode & 0o077 == 0
    owner = hub.data_dir / "iothubowner.txt"
    assert owner.read_text().strip() == hub.ready["connectionStrings"]["iothubowner"]
    for name in ("iothubowner.txt", "hub.db", "telemetry.db", "ca-key.pem", "server-key.pem"):
        assert (hub.data_dir / name).stat().st_mode & 0o077 == 0


def test_devices_modules_and_twins(hub: Serving) -> None:
    created = run("device", "create", "gw", "--edge", "--json", data_dir=hub.data_dir)
    assert created.code == 0, created.err
    device = json.loads(created.out)
    assert [module["moduleId"] for module in device["systemModules"]] == ["$edgeAgent", "$edgeHub"]
    leaf = json.loads(run("device", "create", "leaf", "--parent", "gw", "--json", data_dir=hub.data_dir).out)
    assert leaf["parentScopes"] == [device["deviceScope"]]
    text = run("device", "connection-string", "leaf", "--gateway", "gw.local", data_dir=hub.data_dir).out
    key = leaf["authentication"]["symmetricKey"]["primaryKey"]
    assert text.strip() == f"HostName=localhost;DeviceId=leaf;SharedAccessKey={key};GatewayHostName=gw.local"
    listed = run("device", "list", data_dir=hub.data_dir).out
    assert "leaf" in listed
    assert "edge" in listed
    module = run("module", "connection-string", "gw", "$edgeHub", data_dir=hub.data_dir).out
    assert module.startswith("HostName=localhost;DeviceId=gw;ModuleId=$edgeHub;SharedAccessKey=")
    assert run("module", "create", "gw", "filter", data_dir=hub.data_dir).code == 0
    assert "filter" in run("module", "list", "gw", data_dir=hub.data_dir).out
    shown = run("twin", "update", "leaf", "--desired", '{"interval": 5}', data_dir=hub.data_dir)
    assert json.loads(shown.out)["properties"]["desired"]["interval"] == 5
    replaced = run("twin", "update", "leaf", "--desired", "{}", "--replace", data_dir=hub.data_dir)
    assert "interval" not in json.loads(replaced.out)["properties"]["desired"]
    assert run("module", "delete", "gw", "filter", data_dir=hub.data_dir).out == "deleted gw/filter\n"
    assert run("device", "delete", "leaf", data_dir=hub.data_dir).out == "deleted leaf\n"


def test_devices_with_certificates(hub: Serving, tmp_path: Path) -> None:
    shown = issue("x509", now_s=time.time())
    file, _ = shown.write(tmp_path, "x509")
    create = ("device", "create", "x509", "--certificate", str(file), "--thumbprint", shown.sha1)
    created = run(*create, data_dir=hub.data_dir)
    assert created.code == 0, created.err
    assert f"{shown.sha1.upper()}, {shown.sha256.upper()}" in created.out
    text = run("device", "connection-string", "x509", data_dir=hub.data_dir)
    assert (text.code, "it connects with its certificate" in text.err) == (1, True)
    vouched = run("device", "create", "vouched", "--x509-ca", "--json", data_dir=hub.data_dir)
    assert json.loads(vouched.out)["authentication"]["type"] == "certificateAuthority"
    for device in ("x509", "vouched"):
        assert run("device", "delete", device, data_dir=hub.data_dir).code == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("device", "show", "ghost"), "404 DeviceNotFound: Device ghost is not registered."),
        (("device", "create", "a/b"), "400 ArgumentInvalid"),
        (("device", "create", "x", "--parent", "ghost"), "404 DeviceNotFound"),
        (("device", "create", "x", "--thumbprint", "AA"), "must have 40 (SHA-1) or 64 (SHA-256)"),
        (("device", "create", "x", "--certificate", "/no/such"), "--certificate /no/such: No such file"),
        (("device", "create", "x", "--x509-ca", "--thumbprint", "AA"), "--x509-ca stands alone"),
        (("twin", "update", "gw", "--desired", "{broken"), "--desired is not valid JSON"),
        (("twin", "update", "gw", "--desired", "@/no/such/file"), "cannot read /no/such/file"),
        (("twin", "update", "gw"), "give --desired, --tags or both"),
        (("device", "list", "--login", "HostName=localhost"), "lacks sharedaccesskeyname, sharedaccesskey"),
        (("monitor", "--from", "never"), "400 ArgumentInvalid: from must be a whole number"),
    ],
)
def test_mistakes_give_one_clear_line(hub: Serving, arguments: tuple[str, ...], text: str) -> None:
    done = run(*arguments, data_dir=hub.data_dir)
    assert done.code == 1
    assert text in done.err
    assert done.err.count("\n") == 1
    assert done.err.startswith("iothub: ")


def test_login_with_a_connection_string_and_address(hub: Serving) -> None:
    done = run(
        "device", "list", "--json", "--login", hub.ready["connectionStrings"]["registryRead"],
        "--address", f"127.0.0.1:{hub.ready['httpsPort']}", "--ca-file", hub.ready["caFile"],
    )  # fmt: skip
    assert done.code == 0, done.err
    assert isinstance(json.loads(done.out), list)
    distrusted = run(
        "device", "list", "--login", hub.ready["connectionStrings"]["registryRead"],
        "--address", f"127.0.0.1:{hub.ready['httpsPort']}",
    )  # fmt: skip
    assert distrusted.code == 1
    assert distrusted.err.endswith("; name the authority to trust with --ca-file\n")
    nothing = run("device", "list")
    assert nothing.code == 1
    assert "--login CONNECTION_STRING or --data-dir DIR" in nothing.err


def test_monitor_ends_by_itself(hub: Serving) -> None:
    done = run("monitor", "--count", "1", "--timeout", "0.5", data_dir=hub.data_dir)
    assert (done.code, done.out) == (1, "")


@pytest.mark.parametrize(
    "arguments", [("--help",), ("serve", "--help"), ("device", "create", "--help"), ("monitor", "--help")]
)
def test_help(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.code == 0
    assert "Usage" in done.out


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--cert", "/no/cert.pem"), "--cert and --key belong together"),
        (("--cert", "/no/cert.pem", "--key", "/no/key.pem"), "/no/cert.pem"),
        (("--hostname", "no name"), "--hostname 'no name' is neither the name of a host nor an address"),
        (("--log-level", "loud"), "'loud' is not one of"),
        (("--host", "192.0.2.1"), "192.0.2.1"),
    ],
)
def test_a_failed_start_exits_with_1_and_one_line(
    tmp_path: Path, options: tuple[str, ...], text: str
) -> None:
    command = [sys.executable, "-m", "iothub", "serve", "--data-dir", str(tmp_path), "--hostname", "h"]
    command += ["--amqp-port", "0", "--https-port", "0", "--mqtt-port", "0", *options]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


def test_restart_keeps_certificates_identities_and_policies(tmp_path: Path) -> None:
    first = Serving(tmp_path)
    assert run("device", "create", "d1", data_dir=tmp_path).code == 0
    authority = (tmp_path / "ca.pem").read_bytes()
    certificate = (tmp_path / "server.pem").read_bytes()
    assert first.stop(signal.SIGTERM) == 0
    assert run("device", "list", data_dir=tmp_path).code == 1
    second = Serving(tmp_path)
    assert second.ready["connectionStrings"] == first.ready["connectionStrings"]
    assert (tmp_path / "ca.pem").read_bytes() == authority
    assert (tmp_path / "server.pem").read_bytes() == certificate
    assert run("device", "show", "d1", data_dir=tmp_path).code == 0
    assert second.stop(signal.SIGINT) == 0


async def test_nothing_that_was_acknowledged_is_lost_when_the_hub_is_killed(tmp_path: Path) -> None:
    """Accepted means committed: kill -9 in full flow, then look into the log."""
    serving = Serving(tmp_path)
    created = run("device", "create", "gw", "--edge", "--json", data_dir=tmp_path)
    own = next(m for m in json.loads(created.out)["systemModules"] if m["moduleId"] == "$edgeHub")
    key = base64.b64decode(own["authentication"]["symmetricKey"]["primaryKey"])

    async def sign(data: bytes) -> bytes:
        return hmac.digest(key, data, "sha256")

    source = FakeSource()
    source.put("gw", *[b"%d" % number for number in range(5000)])
    tls = ssl.create_default_context(cafile=serving.ready["caFile"])
    tokens = SignedTokens("localhost", "gw", sign, time.time)
    settings = UpstreamSettings("localhost", "localhost", "gw", tokens, tls, port=serving.ready["amqpPort"])
    link = AmqpUpstream(settings, source)
    await link.start()
    async with asyncio.timeout(30):
        while True:
            await asyncio.sleep(0.005)
            if link.stats.batches >= 50:
                break
    serving.stop(signal.SIGKILL)
    await link.stop()
    delivered = sum(count for _, count, outcome in source.settled if outcome == "delivered")
    assert 500 <= delivered < 5000
    log = TelemetryLog(
        tmp_path / "telemetry.db",
        bytes_max=2**40,
        age_secs_max=10**9,
        clock=time.time,
        on_batch=lambda *_: None,
    )
    chunks = log.reader.submit(log.read, 0, 10**6, 2**40).result()
    log.close()
    stored = [int(event.body) for chunk in chunks for event in events_of(chunk)]
    assert stored[:delivered] == list(range(delivered))
    assert len(stored) <= delivered + 10
