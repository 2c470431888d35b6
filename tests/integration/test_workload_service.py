"""The workload service as a process; its clients are the hub and the unmodified Python SDK."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.workload.client import WorkloadControl
from edgeagent.workload.errors import ControlError
from edgeagent.workload.settings import WorkloadSettings
from edgehub.identity.workload import WorkloadClient
from testkit.hub_process import EDGE, HUB_HOST
from testkit.workload_process import hub_under_agent, import_paths, kill, module_environment, running_service

if TYPE_CHECKING:
    from pathlib import Path


GATEWAY = "127.0.7.1"
"""An address of its own, as SDKs know one port only; so the certificate is for an IP address (row W10)."""

MODULE = "sensor"
WAIT_S = 30.0

# The SDK asks for a version of TLS in a way that Python has grown out of.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkloadSettings:
    import_paths(monkeypatch)
    return WorkloadSettings(tmp_path / "h", HUB_HOST, EDGE)


class Sdk:
    """The module of the SDK, and what arrives at its input."""

    def __init__(self, variables: dict[str, str], **options: Any) -> None:
        from azure.iot.device.aio import IoTHubModuleClient

        with pytest.MonkeyPatch.context() as environment:
            for name, value in variables.items():
                environment.setenv(name, value)
            self.client: Any = IoTHubModuleClient.create_from_edge_environment(**options)
        self.arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def __aenter__(self) -> Sdk:
        loop = asyncio.get_running_loop()

        async def arrived(message: Any) -> None:
            loop.call_soon_threadsafe(self.arrived.put_nowait, message.data)

        await self.client.connect()
        self.client.on_message_received = arrived
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.shutdown()

    async def echo(self, body: str) -> bytes:
        """Sends a message that the hub routes back."""
        await asyncio.wait_for(self.client.send_message_to_output(body, "out"), WAIT_S)
        return await asyncio.wait_for(self.arrived.get(), WAIT_S)

    @property
    def token_expires_s(self) -> float:
        token = self.client._mqtt_pipeline._nucleus.pipeline_configuration.sastoken
        return float(token.expiry_time)


async def test_w15_python_sdk_connects(tmp_path: Path, settings: WorkloadSettings) -> None:
    """Rows W15, W10: trust, token and the server's certificate all come from the service."""
    async with running_service(settings) as control:
        module = await control.register(MODULE)
        with await hub_under_agent(tmp_path, control, settings, module, GATEWAY):
            async with Sdk(module_environment(module, settings, GATEWAY)) as sdk:
                assert await sdk.echo("hello") == b"hello"


# The SDK leaves a pair of sockets to the garbage collector when it connects again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_w18_renewal_after_the_service_was_killed(tmp_path: Path, settings: WorkloadSettings) -> None:
    """Row W18: the SDK signs again before its token ends; the service was killed and started in between."""
    async with running_service(settings) as control:
        module = await control.register(MODULE)
        with await hub_under_agent(tmp_path, control, settings, module, GATEWAY):
            # It renews 120 s before the end, thus after a moment.
            async with Sdk(module_environment(module, settings, GATEWAY), sastoken_ttl=123) as sdk:
                first = sdk.token_expires_s
                killed = await kill(control)
                assert await sdk.echo("while nobody serves") == b"while nobody serves"
                assert (await control.ensure_running()).pid != killed
                async with asyncio.timeout(WAIT_S):
                    while sdk.token_expires_s == first:  # noqa: ASYNC110 - a thread of the SDK
                        await asyncio.sleep(0.05)
                assert await sdk.echo("with the next token") == b"with the next token"


async def test_a_token_of_another_module_is_no_good(tmp_path: Path, settings: WorkloadSettings) -> None:
    """The socket decides: the SDK of one module cannot get a token of another's."""
    async with running_service(settings) as control:
        module = await control.register(MODULE)
        other = await control.register("other")
        variables = module_environment(module, settings, GATEWAY)
        variables["IOTEDGE_WORKLOADURI"] = f"unix://{other.folder}/workload.sock"
        with pytest.raises(ValueError, match="SasToken") as failed:
            Sdk(variables)
        assert "Unable to sign data" in causes_of(failed.value)


def causes_of(error: BaseException | None) -> str:
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__
    return "\n".join(texts)


async def test_client_of_the_hub(settings: WorkloadSettings) -> None:
    """What the hub uses, call by call."""
    async with running_service(settings) as control:
        module = await control.register("$edgeHub")
        uri = f"unix://{module.folder}/workload.sock"
        client = WorkloadClient(uri, "$edgeHub", module.generation_id)
        assert len(await client.sign(b"text")) == 32
        issued = await client.server_certificate("gateway.local", "2030-01-01T00:00:00Z")
        assert issued.chain_pem.endswith(await client.trust_bundle())


async def test_the_agent_may_end_and_return(settings: WorkloadSettings) -> None:
    """An agent that is killed leaves the service alone, and finds it again."""
    program = (
        "import asyncio, os, signal, sys; from pathlib import Path;"
        "from edgeagent.workload.client import WorkloadControl;"
        "from edgeagent.workload.settings import WorkloadSettings;"
        f"control = WorkloadControl(WorkloadSettings(Path(sys.argv[1]), {HUB_HOST!r}, {EDGE!r}));"
        "asyncio.run(control.ensure_running());"
        "print(asyncio.run(control.register('m1', '7')).folder, flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", program, str(settings.home)]
    agent = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=WAIT_S)
    assert agent.returncode == -signal.SIGKILL, agent.stderr
    control = WorkloadControl(settings)
    try:
        state = await control.ensure_running()
        assert (state.detached, state.modules) == (True, 1)
        assert os.getsid(state.pid) == state.pid
    finally:
        await control.stop()
    with pytest.raises(ControlError, match="nobody listens"):
        await control.state()


@pytest.mark.parametrize("registered", [1, 4, 9])
async def test_what_was_registered_is_served_after_a_kill(
    settings: WorkloadSettings, registered: int
) -> None:
    """Whenever it is killed, also in the middle of the next registration."""
    async with running_service(settings) as control:
        known = [await control.register(f"m{number}") for number in range(registered)]
        under_way = [asyncio.create_task(control.register(f"n{number}")) for number in range(3)]
        await kill(control)
        answers = await asyncio.gather(*under_way, return_exceptions=True)
        known += [answer for answer in answers if not isinstance(answer, BaseException)]
        await control.ensure_running()
        served = await control.modules()
        assert all(module in served for module in known)
        for module in served:
            client = WorkloadClient(
                f"unix://{module.folder}/workload.sock", module.module_id, module.generation_id
            )
            assert await client.sign(b"text")


async def test_agents_that_start_it_at_the_same_time(settings: WorkloadSettings) -> None:
    controls = [WorkloadControl(settings) for _ in range(3)]
    try:
        states = await asyncio.gather(*(control.ensure_running() for control in controls))
        assert len({state.pid for state in states}) == 1
    finally:
        await controls[0].stop()


async def test_other_settings_replace_a_service_that_an_agent_started(settings: WorkloadSettings) -> None:
    async with running_service(settings) as control:
        await control.register("m1", "1")
        first = await control.state()
        renamed = WorkloadControl(WorkloadSettings(settings.home, "other.test", EDGE))
        second = await renamed.ensure_running()
        assert second.pid != first.pid
        assert second.modules == 1
        assert await renamed.ensure_running() == second


async def test_a_service_of_systemd_is_left_alone(
    settings: WorkloadSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """It stops cleanly on SIGTERM, with exit code 0."""
    command = [sys.executable, "-m", "edgeagent.workload", *settings.arguments()]
    service = await asyncio.to_thread(subprocess.Popen, command, stderr=subprocess.PIPE)
    try:
        control = WorkloadControl(WorkloadSettings(settings.home, "other.test", EDGE))
        await until_running(control)
        state = await control.ensure_running()
        assert (state.pid, state.detached) == (service.pid, False)
        assert "restart its unit" in caplog.text
    finally:
        service.send_signal(signal.SIGTERM)
        _, log = await asyncio.to_thread(service.communicate, timeout=WAIT_S)
    assert service.returncode == 0
    assert b"Traceback" not in log


async def until_running(control: WorkloadControl) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            await control.state()
        except ControlError:
            await asyncio.sleep(0.02)
        else:
            return
    raise AssertionError("the service does not get ready")


async def test_a_start_that_fails_says_where_to_look(settings: WorkloadSettings, tmp_path: Path) -> None:
    bad = WorkloadSettings(settings.home, HUB_HOST, EDGE, tmp_path / "none.pem", tmp_path / "none.key")
    with pytest.raises(ControlError, match=r"ended with exit code 1; .*workload\.log says why"):
        await WorkloadControl(bad).ensure_running()
    log = (settings.home / "workload.log").read_text()
    assert "edgeagent workload: the operator's CA" in log
    assert "Traceback" not in log
