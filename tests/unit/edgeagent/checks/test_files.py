"""Checks of config.toml and of what it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeagent.checks import files
from edgeagent.checks.model import Result
from testkit.fake_probes import CONFIG, CONFIG_FILE, NOW, FakeProbes, said, situation
from testkit.x509 import DAY_S, issue

OK, WARNING, ERROR, SKIPPED = Result.OK, Result.WARNING, Result.ERROR, Result.SKIPPED


async def test_a_good_configuration_is_kept_for_later_checks() -> None:
    probes = FakeProbes()
    probes.add(CONFIG_FILE, CONFIG + '[agent.env]\nUpstreamProtocol = "MqttWs"')
    given = situation(probes, None)
    assert (await files.config_well_formed(given)).result is OK
    assert given.upstream_host == "hub.example.net"
    assert given.settings.upstream_protocol == "MqttWs"


@pytest.mark.parametrize(
    ("text", "result", "word"),
    [
        ("hostnam = 'x'", WARNING, "hostnam: is not known"),
        ("a = ", ERROR, "is not TOML"),
        ("[edge_ca]\nmethod = 'est'", ERROR, "edge_ca.method"),
        ("[agent.env]\nMaxRestartCount = 'x'", ERROR, 'agent.env.MaxRestartCount="x"'),
        (
            "[provisioning]\niothub_hostname='h'\ndevice_id='d'\n"
            "authentication={device_id_pk={uri='file:///no/such/key'}}",
            ERROR,
            "/no/such/key: cannot be read",
        ),
    ],
)
async def test_mistakes_in_it(text: str, result: Result, word: str) -> None:
    probes = FakeProbes()
    probes.add(CONFIG_FILE, text)
    given = situation(probes, None)
    found, texts = said(await files.config_well_formed(given))
    assert found is result
    assert word in texts
    assert (given.config is None) == (result is ERROR)


async def test_no_configuration() -> None:
    given = situation(config=None)
    assert said(await files.config_well_formed(given))[0] is SKIPPED
    assert given.config is not None
    chosen = situation(config=None, config_file=Path("/x"), is_config_chosen=True)
    assert said(await files.config_well_formed(chosen)) == (
        ERROR,
        "/x: there is no such file\nname the right one with --config\n",
    )


async def test_up_to_date() -> None:
    probes = FakeProbes()
    given = situation(probes, applied_file=Path("/applied"))
    assert (await files.config_up_to_date(given)).result is Result.IGNORED
    probes.add(CONFIG_FILE, "", 10.0)
    assert "was not applied yet" in said(await files.config_up_to_date(given))[1]
    probes.add("/applied", "", 9.0)
    found, texts = said(await files.config_up_to_date(given))
    assert found is WARNING
    assert "sudo iotedge config apply -c '/etc/aziot/config.toml'" in texts
    probes.add("/applied", "", 11.0)
    assert (await files.config_up_to_date(given)).result is OK


async def test_hostname() -> None:
    assert said(await files.hostname(situation()))[0] is SKIPPED
    assert (await files.hostname(situation(config='hostname = "gw1.example.net"'))).result is OK
    found, texts = said(await files.hostname(situation(config='hostname = "other"')))
    assert found is ERROR
    assert 'set hostname to "gw1"' in texts


async def test_parent() -> None:
    probes = FakeProbes()
    given = situation(probes, 'parent_hostname = "p.example.net"')
    assert (await files.parent_hostname(given)).info == {"addresses": ["192.0.2.1"]}
    probes.fail("resolve", "no such name")
    assert (
        'parent_hostname "p.example.net" cannot be resolved: no such name'
        in said(await files.parent_hostname(given))[1]
    )
    assert said(await files.parent_hostname(situation()))[0] is SKIPPED


OWN_CA = "[edge_ca]\ncert = 'file:///ca.pem'\npk = 'file:///ca.key'"


async def test_ones_own_ca() -> None:
    probes = FakeProbes()
    given = situation(probes, OWN_CA)
    assert "/ca.pem: there is no such file" in said(await files.ca_certificate(given))[1]
    assert "there is no such file" in said(await files.ca_pair(given))[1]
    made = issue("ca", now_s=NOW.timestamp(), end_s=5 * DAY_S)
    probes.add("/ca.pem", made.pem)
    assert "/ca.key: there is no such file" in said(await files.ca_pair(given))[1]
    probes.add("/ca.key", made.key_pem)
    found, texts = said(await files.ca_certificate(given))
    assert found is WARNING
    assert "replace the files of [edge_ca]" in texts
    assert (await files.ca_pair(given)).result is OK
    probes.fail("read /ca.pem", "permission denied")
    for check in (files.ca_certificate, files.ca_pair):
        assert "run the check with sudo" in said(await check(given))[1]


async def test_the_ca_that_was_made_here() -> None:
    probes = FakeProbes()
    given = situation(probes, home=Path("/h"))
    assert "no CA yet" in said(await files.ca_certificate(given))[1]
    probes.add("/h/certs/quickstart-ca.pem", issue("ca", now_s=NOW.timestamp(), end_s=50 * DAY_S).pem)
    assert (await files.ca_certificate(given)).result is OK
    assert said(await files.ca_pair(given))[0] is SKIPPED


@pytest.mark.parametrize(
    ("env", "engine", "option", "result", "word"),
    [
        ({}, {}, "", OK, ""),
        ({"https_proxy": "http://p:1", "UpstreamProtocol": "MqttWs"}, {"HttpsProxy": "x"}, "", OK, ""),
        ({"https_proxy": "http://p:1"}, {}, "", WARNING, "the agent has an HTTPS proxy"),
        ({}, {"HttpsProxy": "x"}, "", WARNING, "the container engine has an HTTPS proxy"),
        ({"https_proxy": "ftp://u:s3cret@p"}, {}, "", ERROR, "https_proxy must be"),
        ({}, {"HttpsProxy": "x"}, "http://p:1", OK, ""),
        ({"https_proxy": "p:1", "UpstreamProtocol": "Mqtt"}, {"HttpsProxy": "x"}, "", WARNING, "not used"),
        ({}, None, "", SKIPPED, ""),
    ],
)
async def test_proxies(
    env: dict[str, str], engine: dict[str, Any] | None, option: str, result: Result, word: str
) -> None:
    text = "[agent.env]\n" + "\n".join(f'{name} = "{value}"' for name, value in env.items())
    given = situation(config=text, proxy=option)
    given.engine_info = engine
    found, texts = said(await files.proxy(given))
    assert found is result
    assert word in texts
    assert "s3cret" not in texts


async def test_without_a_configuration_nothing_can_be_checked() -> None:
    given = situation(config=None)
    for check in (files.hostname, files.parent_hostname, files.ca_certificate, files.ca_pair, files.proxy):
        finding = await check(given)
        assert (finding.result, finding.reason) == (SKIPPED, "")


async def test_identity() -> None:
    assert "by key" in (await files.identity_certificate(situation())).reason
