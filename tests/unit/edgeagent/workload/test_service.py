"""The whole service within one process, on real unix sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from edgeagent.workload import service as service_module
from edgeagent.workload.client import WorkloadControl
from edgeagent.workload.errors import (
    AuthorityError,
    ControlError,
    FolderTakenError,
    KeyFileError,
    ServiceError,
)
from edgeagent.workload.keys import IDENTITY_KEY_FILE
from edgeagent.workload.service import WorkloadService
from edgeagent.workload.settings import WorkloadSettings
from testkit import x509 as testing
from testkit.raw_http import call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

    from edgeagent.workload.certificates import CertificateAuthority

VERSION = "api-version=2022-08-03"
DAY = timedelta(days=1)


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def settings(tmp_path: Path) -> WorkloadSettings:
    return WorkloadSettings(tmp_path / "h", "hub.test", "dev1")


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


@pytest.fixture(autouse=True)
def _made_once(quick_start_ca: CertificateAuthority) -> Any:
    """The first CA is that of all tests, as keys take a while."""
    made: list[int] = []

    def make(*given: Any) -> CertificateAuthority:
        from edgeagent.workload.certificates import self_signed_ca

        made.append(1)
        return quick_start_ca if len(made) == 1 else self_signed_ca(*given)

    with patch("edgeagent.workload.authority.self_signed_ca", make):
        yield


@asynccontextmanager
async def running(settings: WorkloadSettings, clock: Clock) -> AsyncIterator[WorkloadControl]:
    """A service until the end of the block."""
    service = WorkloadService(settings, now=clock)
    task = asyncio.create_task(service.run())
    control = WorkloadControl(settings)
    while True:
        try:
            await control.state()
            break
        except ControlError:
            assert not task.done()
            await asyncio.sleep(0)
    try:
        yield control
    finally:
        service.stop_asked.set()
        await task


async def test_a_module_gets_its_socket(settings: WorkloadSettings, clock: Clock) -> None:
    async with running(settings, clock) as control:
        module = await control.register("$edgeHub", "123")
        assert module.folder == settings.home / "mnt" / "edgeHub"
        assert (module.module_id, module.generation_id) == ("$edgeHub", "123")
        path = module.folder / "workload.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert stat.S_IMODE(module.folder.stat().st_mode) == 0o755
        assert stat.S_IMODE(module.folder.parent.stat().st_mode) == 0o700
        body = json.dumps({"data": base64.b64encode(b"x").decode()}).encode()
        status, signed = await call(path, "POST", f"/modules/%24edgeHub/genid/123/sign?{VERSION}", body)
        assert status == 200
        primary, _ = await control.module_keys("$edgeHub", "123")
        import hmac

        expected = hmac.digest(base64.b64decode(primary), b"x", "sha256")
        assert base64.b64decode(signed["digest"]) == expected
        assert await control.modules() == [module]


async def test_w13_a_socket_speaks_for_its_module_alone(settings: WorkloadSettings, clock: Clock) -> None:
    """Row W13: the names are right, but the socket is another module's."""
    async with running(settings, clock) as control:
        first = await control.register("m1", "1")
        await control.register("m2", "1")
        path = first.folder / "workload.sock"
        for verb in ("sign", "encrypt", "decrypt", "certificate/server"):
            answer = await call(path, "POST", f"/modules/m2/genid/1/{verb}?{VERSION}", b"{}")
            assert answer == (403, {"message": "forbidden"})


async def test_w09_w11_certificates_over_a_socket(settings: WorkloadSettings, clock: Clock) -> None:
    """Rows W09, W11, W12."""
    async with running(settings, clock) as control:
        path = (await control.register("m1", "1")).folder / "workload.sock"
        body = b'{"commonName":"gateway","expiration":"2030-01-01T00:00:00Z"}'
        status, server = await call(path, "POST", f"/modules/m1/genid/1/certificate/server?{VERSION}", body)
        assert status == 201
        assert server["certificate"].count("BEGIN CERTIFICATE") == 2
        assert server["expiration"] == "2026-08-31T10:00:00+00:00"
        status, identity = await call(path, "POST", f"/modules/m1/certificate/identity?{VERSION}")
        assert status == 201
        assert identity["privateKey"]["type"] == "key"
        status, trust = await call(path, "GET", f"/trust-bundle?{VERSION}")
        assert (status, trust["certificate"]) == (200, server["certificate"][-len(trust["certificate"]) :])
        status, listed = await call(path, "GET", f"/modules?{VERSION}")
        assert [item["name"] for item in listed["modules"]] == ["m1"]


async def test_the_same_sockets_after_a_restart(settings: WorkloadSettings, clock: Clock) -> None:
    async with running(settings, clock) as control:
        module = await control.register("m1")
        keys = await control.module_keys("m1", module.generation_id)
        sealed = await control.seal(b"deployment", "backup")
        before = await control.state()
    async with running(settings, clock) as control:
        path = module.folder / "workload.sock"
        assert (await call(path, "GET", f"/trust-bundle?{VERSION}"))[0] == 200
        assert await control.register("m1") == module
        assert await control.module_keys("m1", module.generation_id) == keys
        assert await control.unseal(sealed, "backup") == b"deployment"
        assert (await control.state()).ca == before.ca


async def test_a_module_that_leaves(settings: WorkloadSettings, clock: Clock) -> None:
    async with running(settings, clock) as control:
        module = await control.register("m1", "1")
        kept = await control.register("m2", "1")
        (kept.folder / "file").write_text("of the operator")
        for _ in range(2):
            await control.unregister("m1")
            await control.unregister("m2")
        assert not module.folder.exists()
        assert [path.name for path in kept.folder.iterdir()] == ["file"]
        assert await control.modules() == []


async def test_a_new_generation_on_the_same_socket(settings: WorkloadSettings, clock: Clock) -> None:
    async with running(settings, clock) as control:
        path = (await control.register("m1", "1")).folder / "workload.sock"
        await control.register("m1", "2")
        body = b'{"data":"eA=="}'
        assert (await call(path, "POST", f"/modules/m1/genid/1/sign?{VERSION}", body))[0] == 403
        assert (await call(path, "POST", f"/modules/m1/genid/2/sign?{VERSION}", body))[0] == 200


async def test_a_socket_that_somebody_removed(settings: WorkloadSettings, clock: Clock) -> None:
    async with running(settings, clock) as control:
        folder = (await control.register("m1", "1")).folder
        (folder / "workload.sock").unlink()
        folder.rmdir()
        await control.register("m1", "1")
        assert (await call(folder / "workload.sock", "GET", f"/modules?{VERSION}"))[0] == 200


async def test_x06_renewal_asks_for_a_restart(settings: WorkloadSettings, clock: Clock) -> None:
    """Row X06: at 80 %, at the latest with the next certificate; over until the agent says so."""
    async with running(settings, clock) as control:
        path = (await control.register("m1", "1")).folder / "workload.sock"
        first = await control.state()
        assert (first.ca.kind, first.renewals, first.restart_due) == ("quickstart", 0, False)
        clock.now += 72 * DAY
        assert "expires on" in ((await control.state()).ca.warning or "")
        body = b'{"commonName":"gateway"}'
        await call(path, "POST", f"/modules/m1/genid/1/certificate/server?{VERSION}", body)
        second = await control.state()
        assert (second.renewals, second.restart_due, second.ca.warning) == (1, True, None)
        assert second.ca.fingerprint != first.ca.fingerprint
    async with running(settings, clock) as control:
        assert (await control.state()).restart_due
        await control.modules_restarted(first.ca.fingerprint)
        assert (await control.state()).restart_due
        await control.modules_restarted(second.ca.fingerprint)
        assert not (await control.state()).restart_due


async def test_x06_renewal_without_anybody_asking(
    settings: WorkloadSettings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row X06: by the clock."""
    monkeypatch.setattr(service_module, "CA_CHECK_S", 0.001)
    async with running(settings, clock) as control:
        clock.now += 72 * DAY
        while not (await control.state()).restart_due:  # noqa: ASYNC110 - through a socket
            await asyncio.sleep(0)


async def test_x07_the_operators_own_ca(
    settings: WorkloadSettings, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Row X07: used, never made anew; it expires with a warning."""
    made = testing.issue("own CA", now_s=clock.now.timestamp(), authority=True, end_s=100 * testing.DAY_S)
    certificate, key = made.write(tmp_path, "ca")
    extra = testing.authority("extra", clock.now.timestamp())
    (tmp_path / "extra.pem").write_bytes(extra.pem)
    own = WorkloadSettings(settings.home, "hub.test", "dev1", certificate, key, tmp_path / "extra.pem")
    async with running(own, clock) as control:
        path = (await control.register("m1", "1")).folder / "workload.sock"
        state = await control.state()
        assert (state.ca.kind, state.ca.common_name, state.ca.warning) == ("operator", "own CA", None)
        status, trust = await call(path, "GET", f"/trust-bundle?{VERSION}")
        assert trust["certificate"].encode() == made.pem + extra.pem
        clock.now += 101 * DAY
        status, content = await call(path, "POST", f"/modules/m1/certificate/identity?{VERSION}")
        assert status == 500
        assert "the CA certificate expired on" in content["message"]
        assert (await call(path, "POST", f"/modules/m1/genid/1/sign?{VERSION}", b'{"data":""}'))[0] == 200
    async with running(own, clock):
        while "so none is issued: replace its files" not in caplog.text:  # noqa: ASYNC110 - a thread
            await asyncio.sleep(0)
    assert certificate.read_bytes() == made.pem
    assert not list((settings.home).glob("certs/*"))


async def test_another_ca_counts_as_renewal(settings: WorkloadSettings, clock: Clock, tmp_path: Path) -> None:
    """From the quick-start CA to the operator's own: modules have to fetch certificates and trust."""
    async with running(settings, clock):
        pass
    certificate, key = testing.authority("own CA", clock.now.timestamp()).write(tmp_path, "ca")
    own = WorkloadSettings(settings.home, "hub.test", "dev1", certificate, key)
    async with running(own, clock) as control:
        assert (await control.state()).restart_due


async def test_a_folder_is_served_once(settings: WorkloadSettings, clock: Clock) -> None:
    async with running(settings, clock) as control:
        with pytest.raises(FolderTakenError, match="is served by process"):
            WorkloadService(settings, now=clock)
        assert (await control.state()).modules == 0


async def test_a_start_that_fails_frees_the_folder(settings: WorkloadSettings, clock: Clock) -> None:
    async with running(settings, clock):
        pass
    key = settings.home / "keys" / IDENTITY_KEY_FILE
    saved = key.read_bytes()
    key.write_bytes(b"short")
    with pytest.raises(KeyFileError, match="expected 32 bytes"):
        WorkloadService(settings, now=clock)
    key.write_bytes(saved)
    bad = WorkloadSettings(settings.home, "h", "d", settings.home / "no.pem", settings.home / "no.key")
    with pytest.raises(AuthorityError, match="the operator's CA"):
        WorkloadService(bad, now=clock)
    async with running(settings, clock):
        pass


async def test_one_socket_that_cannot_be_made(
    settings: WorkloadSettings, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are served; registering it again says what is wrong."""
    async with running(settings, clock) as control:
        bad = await control.register("m1", "1")
        good = await control.register("m2", "1")
    (bad.folder / "workload.sock").unlink()
    (bad.folder / "workload.sock").mkdir()
    async with running(settings, clock) as control:
        assert "The socket of m1 cannot be made" in caplog.text
        assert (await call(good.folder / "workload.sock", "GET", f"/modules?{VERSION}"))[0] == 200
        with pytest.raises(ControlError, match="directory"):
            await control.register("m1", "1")
        (bad.folder / "workload.sock").rmdir()
        await control.register("m1", "1")
        assert (await call(bad.folder / "workload.sock", "GET", f"/modules?{VERSION}"))[0] == 200


async def test_a_control_socket_that_cannot_be_made(settings: WorkloadSettings, clock: Clock) -> None:
    service = WorkloadService(settings, now=clock)
    settings.control_socket.mkdir()
    with pytest.raises(ServiceError, match=r"workload-control\.sock cannot be made"):
        await service.run()


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "text"),
    [
        ("GET", "/none", b"", 404, "not found"),
        ("POST", "/state", b"", 404, "not found"),
        ("PUT", "/modules/..%2Fx", b"{}", 400, "expected a name for a container"),
        ("PUT", "/modules/m1", b"", 400, "missing request body"),
        ("PUT", "/modules/m1", b'{"generationId":":"}', 400, "generation id"),
        ("PUT", "/modules/m1", b'{"generationId":1}', 422, "Expected `str | null`"),
        ("POST", "/keys", b'{"moduleId":"","generationId":"1"}', 400, "expected a name"),
        ("POST", "/seal", b'{"purpose":"","data":""}', 400, "purpose"),
        ("POST", "/seal", b'{"purpose":"x","data":"?"}', 400, "invalid parameter: data"),
        ("POST", "/unseal", b'{"purpose":"x","data":""}', 422, "cut short"),
    ],
)
async def test_control_requests_that_are_refused(
    settings: WorkloadSettings, clock: Clock, verb: str, path: str, body: bytes, status: int, text: str
) -> None:
    async with running(settings, clock):
        found, content = await call(settings.control_socket, verb, path, body)
        assert found == status
        assert text in content["message"]


async def test_the_control_socket_is_for_its_owner(settings: WorkloadSettings, clock: Clock) -> None:
    async with running(settings, clock):
        assert stat.S_IMODE(settings.control_socket.stat().st_mode) == 0o600


async def test_a_full_disk_is_an_answer(settings: WorkloadSettings, clock: Clock) -> None:
    async with running(settings, clock) as control:
        with (
            patch(
                "edgeagent.workload.registry.write_secret", side_effect=OSError(28, "No space left on device")
            ),
            pytest.raises(ControlError, match="No space left") as failed,
        ):
            await control.register("m1", "1")
        assert failed.value.status == 500
        await control.register("m1", "1")


async def test_a_damaged_backup(settings: WorkloadSettings, clock: Clock) -> None:
    async with running(settings, clock) as control:
        sealed = await control.seal(b"x" * 5_000_000, "backup")
        assert await control.unseal(sealed, "backup") == b"x" * 5_000_000
        with pytest.raises(ControlError) as failed:
            await control.unseal(sealed[:-1], "backup")
        assert failed.value.status == 422


async def test_a_warning_is_shown_once_a_day(
    settings: WorkloadSettings,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(service_module, "CA_CHECK_S", 0)
    certificate, key = testing.issue(
        "own", now_s=clock.now.timestamp(), authority=True, end_s=1
    ).write(tmp_path, "ca")  # fmt: skip
    async with running(WorkloadSettings(settings.home, "h", "d", certificate, key), clock) as control:
        for _ in range(20):
            await control.state()
    assert caplog.text.count("replace its files") == 1
