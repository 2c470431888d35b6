"""Every environment variable that the agent reads (agent spec 4), each with its row in the field.

Names are found in any case; `:` and `__` are the same in nested ones. The page docs/agent-settings.md is
written from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from edgeagent.config.values import Reader, one_of, span_s, text, truth, whole
from edgeagent.errors import AgentError
from edgeagent.model.module import ModuleUpdateMode, RegistryCredentials

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DAY_S = 24 * 3600
REGISTRIES_MAX = 100
LOG_LEVELS = ("fatal", "error", "warning", "info", "information", "debug", "verbose")


class SettingsError(AgentError):
    """A setting that cannot work. The text names the variable and what would be right."""


def setting(name: str, read: Reader[Any], default: Any, about: str, shown: str = "") -> Any:
    """A field of :class:`Settings` with its row.

    :param shown: the default as it would be written, where that is not the value itself.
    """
    return field(default=default, metadata={"name": name, "read": read, "about": about, "shown": shown})


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says."""

    max_restart_count: int = setting(
        "MaxRestartCount", whole(1, 1000), 20, "Restarts after which a module stays `failed`."
    )
    intensive_care_minutes: int = setting(
        "IntensiveCareTimeInMinutes",
        whole(0, 100_000),
        10,
        "Time without end after which restarts are forgotten.",
    )
    cool_off_unit_s: int = setting(
        "CoolOffTimeUnitInSeconds", whole(0, 300), 10, "Base of the pauses before restarts and new tries."
    )
    restart_on_clean_exit: bool = setting(
        "CompatRestartOnCleanExit",
        truth,
        False,
        "Start `on-failure` and `on-unhealthy` modules again that ended with 0, as the reference does.",
    )
    update_mode: str = setting(
        "ModuleUpdateMode",
        one_of(*(mode.value for mode in ModuleUpdateMode)),
        ModuleUpdateMode.NON_BLOCKING.value,
        "`WaitForAllPulls`: nothing is made anew before all images are there.",
    )
    stops_modules: bool = setting(
        "StopModulesOnShutdown", truth, True, "Whether modules end with the agent, to come back with it."
    )
    rollback_after_s: int = setting(
        "DeploymentRollbackAfterSecs",
        whole(0, 7 * DAY_S),
        0,
        "Return to the last good deployment when not all modules of a new one run after this; 0: never.",
    )
    storage_folder: str = setting(
        "StorageFolder", text, "", "Folder of the agent's state; else below its home."
    )
    log_level: str = setting("RuntimeLogLevel", one_of(*LOG_LEVELS), "info", "What is logged.")
    config_refresh_s: int = setting(
        "ConfigRefreshFrequencySecs", whole(10, 30 * DAY_S), 3600, "The whole twin is read again so often."
    )
    upstream_protocol: str = setting(
        "UpstreamProtocol",
        one_of("Amqp", "AmqpWs", "Mqtt", "MqttWs"),
        "",
        "How modules and the agent reach the hub; the agent itself speaks MQTT, over WebSocket with `...Ws`.",
    )
    https_proxy: str = setting("https_proxy", text, "", "Proxy for WebSocket connections.")
    removes_orphans: bool = setting(
        "EnableOrphanedIdentityCleanup",
        truth,
        False,
        "Delete identities that no deployment wants and IoT Edge made.",
    )
    device_hostname: str = setting(
        "EdgeDeviceHostName", text, "", "Name of this device, under which modules reach edgeHub."
    )
    network: str = setting("NetworkId", text, "azure-iot-edge", "Network that modules join.")
    request_timeout_s: int = setting(
        "RequestTimeoutSecs", whole(1, 3600), 600, "Longest time of a direct method."
    )
    metrics_enabled: bool = setting("MetricsEnabled", truth, True, "Serve metrics.")
    metrics_suffix: str = setting("suffix", text, "metrics", "Path of the metrics page.")
    metrics_host: str = setting("host", text, "*", "Address of the metrics port, `*` for all.")
    metrics_port: int = setting("port", whole(0, 65535), 9600, "Metrics port; 0 for any free one.")
    metrics_window_s: int = setting(
        "MetricsHistogramMaxAge", span_s(1), 3600, "Window of quantiles.", shown="01:00:00"
    )
    sampling_s: int = setting(
        "PerformanceMetricsUpdateFrequency",
        span_s(5),
        300,
        "Memory and CPU of modules are read so often.",
        shown="00:05:00",
    )
    sends_quality: bool = setting(
        "SendRuntimeQualityTelemetry",
        truth,
        True,
        "Send anonymised metrics to the operator's own hub, once a day.",
    )
    scrape_s: int = setting(
        "MetricScrapeInterval", span_s(1), 3600, "Metrics are gathered so often for it.", shown="01:00:00"
    )
    upload_s: int = setting(
        "MetricUploadInterval", span_s(1), DAY_S, "It is sent so often.", shown="1.00:00:00"
    )
    upload_age_s: int = setting(
        "MetricMaxUploadAge", span_s(1), 7 * DAY_S, "Older metrics are dropped.", shown="7.00:00:00"
    )
    registries: tuple[RegistryCredentials, ...] = ()


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Reads an environment.

    :raises SettingsError: the first value that cannot be read.
    """
    found = {name.lower().replace(":", "__"): (name, value) for name, value in environment.items()}
    given: dict[str, Any] = {"registries": tuple(_registries(found))}
    for row in fields(Settings):
        if "name" not in row.metadata:
            continue
        name, value = found.get(row.metadata["name"].lower(), ("", ""))
        if value.strip():
            given[row.name] = _read(row.metadata["read"], name, value)
    return Settings(**given)


def _read(read: Reader[Any], name: str, value: str) -> Any:
    try:
        return read(value)
    except ValueError as fault:
        raise SettingsError(f'{name}="{value}": {fault}') from None


def _registries(found: Mapping[str, tuple[str, str]]) -> Iterator[RegistryCredentials]:
    """`DockerRegistryAuth__N__serverAddress`, `...__username`, `...__password`, from N = 0 without gaps."""
    for number in range(REGISTRIES_MAX):
        parts = [
            found.get(f"dockerregistryauth__{number}__{part}", ("", ""))[1].strip()
            for part in ("serveraddress", "username", "password")
        ]
        if not any(parts):
            return
        if not all(parts):
            raise SettingsError(
                f"DockerRegistryAuth__{number}: serverAddress, username and password are needed, all three"
            )
        yield RegistryCredentials(*parts)
