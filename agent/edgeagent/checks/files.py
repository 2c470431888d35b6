"""Checks of `config.toml` and of what it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeagent.checks.certificates import check_pair, check_validity
from edgeagent.checks.hostname import check_hostname
from edgeagent.checks.model import (
    Finding,
    cannot_be_checked,
    error,
    error_of,
    ignored,
    not_applicable,
    ok,
    warning,
)
from edgeagent.checks.ports import ProbeError
from edgeagent.config.settings import SettingsError, load_settings
from edgeagent.config.toml_file import parse_config, read_device_key
from edgeagent.config.toml_model import ConfigFile
from edgeagent.config.toml_table import ConfigFileError
from edgeagent.link.errors import LinkSettingsError
from edgeagent.link.proxy import parse_proxy

if TYPE_CHECKING:
    from edgeagent.checks.situation import Situation

_OWN_CA = "replace the files of [edge_ca]; they are read again within a minute"
_MADE_CA = "it is renewed by itself while the workload service runs: see `iotedge system status`"


async def config_well_formed(given: Situation) -> Finding:
    """`aziot-edged-config-well-formed`; unknown keys are a warning."""
    options = given.options
    content = given.probes.read(options.config_file)
    if content is None and not options.is_config_chosen:
        given.config = ConfigFile()
        return not_applicable(f"no {options.config_file}: the agent's environment says it all")
    if content is None:
        return error(f"{options.config_file}: there is no such file", "name the right one with --config")
    try:
        config = parse_config(content, str(options.config_file))
        settings = load_settings(config.agent.env)
        if config.provisioning is not None:
            read_device_key(config.provisioning.key)
    except SettingsError as fault:
        return error(f"{options.config_file}: agent.env.{fault}")
    except ConfigFileError as fault:
        return error_of(fault)
    given.config, given.settings = config, settings
    return warning(*config.warnings) if config.warnings else ok()


async def config_up_to_date(given: Situation) -> Finding:
    """`config-up-to-date`: whether the agent runs with what the file says."""
    source = given.probes.modified_s(given.options.config_file)
    if source is None:
        return ignored()
    applied = given.probes.modified_s(given.options.applied_file)
    todo = f"run: sudo iotedge config apply -c '{given.options.config_file}'"
    if applied is None:
        return warning(f"{given.options.config_file} was not applied yet", todo)
    if applied < source:
        return warning(f"{given.options.config_file} was changed after it was applied", todo)
    return ok()


async def hostname(given: Situation) -> Finding:
    if given.config is None:
        return cannot_be_checked()
    if not given.config.hostname:
        return not_applicable("no hostname in config.toml: the name of the system is used")
    return check_hostname(given.config.hostname, given.probes.hostname())


async def parent_hostname(given: Situation) -> Finding:
    if given.config is None:
        return cannot_be_checked()
    parent = given.config.parent_hostname
    if not parent:
        return not_applicable("no parent_hostname in config.toml")
    try:
        return ok(addresses=await given.probes.resolve(parent))
    except ProbeError as fault:
        return error(
            f'parent_hostname "{parent}" cannot be resolved: {fault}',
            "check the name in config.toml, and the DNS servers of this device",
        )


async def identity_certificate(given: Situation) -> Finding:
    """`identity-certificate-expiry`."""
    return not_applicable("an identity by key, not by certificate")


async def ca_certificate(given: Situation) -> Finding:
    """`edge-ca-certificate-expiry`: the operator's CA, or the one that was made here."""
    if given.config is None:
        return cannot_be_checked()
    own = given.config.edge_ca
    path = own.certificate if own else given.options.home / "certs" / "quickstart-ca.pem"
    try:
        pem = given.probes.read(path)
    except ProbeError as fault:
        return warning(f"{path}: {fault}", "run the check with sudo")
    if pem is not None:
        return check_validity(str(path), pem, given.now, _OWN_CA if own else _MADE_CA)
    if own:
        return error(f"{path}: there is no such file", "correct cert of [edge_ca]")
    return not_applicable("no CA yet: the workload service makes it at its first start")


async def ca_pair(given: Situation) -> Finding:
    """`certs-match-private-keys`."""
    if given.config is None:
        return cannot_be_checked()
    own = given.config.edge_ca
    if own is None:
        return not_applicable("no CA of your own in [edge_ca]")
    try:
        certificate, key = given.probes.read(own.certificate), given.probes.read(own.key)
    except ProbeError as fault:
        return warning(f"[edge_ca]: {fault}", "run the check with sudo")
    if certificate is None or key is None:
        missing = own.key if key is None else own.certificate
        return error(f"{missing}: there is no such file", "correct cert and pk of [edge_ca]")
    return check_pair(certificate, key)


async def proxy(given: Situation) -> Finding:
    """`proxy-settings`: whether agent and engine have the same way out."""
    if given.config is None:
        return cannot_be_checked()
    ours = given.proxy
    if ours:
        try:
            parse_proxy(ours)
        except LinkSettingsError as fault:
            return error(str(fault), "correct https_proxy in [agent.env]")
    if given.engine_info is None:
        return cannot_be_checked()
    engines = given.engine_info.get("HttpsProxy") or ""
    if bool(ours) != bool(engines):
        has, lacks = ("the agent", "the container engine") if ours else ("the container engine", "the agent")
        return warning(
            f"{has} has an HTTPS proxy, {lacks} has none",
            "set https_proxy in [agent.env] of config.toml, and for the engine as its documentation tells",
        )
    if ours and given.settings.upstream_protocol.lower() in ("mqtt", "amqp"):
        return warning(
            f"the proxy is not used with UpstreamProtocol {given.settings.upstream_protocol}",
            "set it to MqttWs in [agent.env], or take the proxy away",
        )
    return ok()
