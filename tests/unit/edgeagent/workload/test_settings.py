from __future__ import annotations

from pathlib import Path

import pytest

from edgeagent.workload.errors import ServiceError
from edgeagent.workload.settings import Invocation, WorkloadSettings, read_arguments

HOME = Path("/var/lib/aziot/edged")
PLAIN = WorkloadSettings(HOME, "hub.test", "dev1")
FULL = WorkloadSettings(
    HOME, "hub.test", "dev1", Path("/c/ca.pem"), Path("/c/ca.key"), Path("/c/trust.pem"), Path("/c/m.pem")
)


@pytest.mark.parametrize("settings", [PLAIN, FULL])
def test_a_command_line_and_back(settings: WorkloadSettings) -> None:
    assert read_arguments(settings.arguments()) == Invocation(settings)
    more = [*settings.arguments(), "--detached", "--log-file=/l"]
    assert read_arguments(more) == Invocation(settings, True, Path("/l"))


def test_values_that_look_like_options() -> None:
    settings = WorkloadSettings(HOME, "-hub", "--dev")
    assert read_arguments(settings.arguments()).settings == settings


def test_places() -> None:
    assert PLAIN.control_socket == HOME / "workload-control.sock"
    assert PLAIN.modules_folder == HOME / "mnt"
    assert PLAIN.keys_folder == HOME / "keys"
    assert PLAIN.certificates_folder == HOME / "certs"


def test_the_digest_tells_settings_apart() -> None:
    assert PLAIN.digest == WorkloadSettings(HOME, "hub.test", "dev1").digest
    assert len({PLAIN.digest, FULL.digest, WorkloadSettings(HOME, "hub.test", "dev2").digest}) == 3


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"hub_host": ""}, "give the host name of the hub"),
        ({"device_id": ""}, "give the host name of the hub and the id of the device"),
        ({"ca_key": Path("k")}, "both the certificate and the key"),
        ({"ca_certificate": Path("c")}, "both the certificate and the key"),
        ({"home": Path("/" + "x" * 100)}, "longer than the 107 bytes"),
    ],
)
def test_settings_that_do_not_go_together(arguments: dict[str, Path | str], text: str) -> None:
    given = {"home": HOME, "hub_host": "h", "device_id": "d", **arguments}
    with pytest.raises(ServiceError, match=text):
        WorkloadSettings(**given)  # type: ignore[arg-type]


def test_a_usage_text(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_arguments(["--home", "/x"])
    assert "--hub-host" in capsys.readouterr().err
