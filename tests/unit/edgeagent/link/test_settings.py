"""Settings of the link."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeagent.link.errors import LinkSettingsError
from edgeagent.link.settings import LinkSettings, UpstreamProtocol, choose_protocols

MQTT, WS = UpstreamProtocol.MQTT, UpstreamProtocol.MQTT_WS
SETTINGS = LinkSettings("parent", "hub.example.net", "d1", product_info="EdgeAgent/1.0 (kernel=6;x)")


@pytest.mark.parametrize(
    ("text", "wanted", "noted"),
    [
        (None, (MQTT, WS), False),
        (" ", (MQTT, WS), False),
        ("mqtt", (MQTT,), False),
        ("MqttWs", (WS,), False),
        ("AMQP", (MQTT,), True),
        ("AmqpWs", (WS,), True),
    ],
)
def test_protocols(text: str | None, wanted: tuple[UpstreamProtocol, ...], noted: bool) -> None:
    choice = choose_protocols(text)
    assert choice.protocols == wanted
    assert bool(choice.note) == noted


def test_the_note_says_what_is_used() -> None:
    assert choose_protocols("Amqp").note == "UpstreamProtocol Amqp is not spoken here; Mqtt is used instead"


def test_an_unknown_protocol() -> None:
    with pytest.raises(LinkSettingsError, match='"http" is not one of Mqtt, MqttWs, Amqp, AmqpWs'):
        choose_protocols("http")


def test_who_connects() -> None:
    assert SETTINGS.client_id == "d1/$edgeAgent"
    assert SETTINGS.user_name == (
        "hub.example.net/d1/$edgeAgent/?api-version=2021-04-12"
        "&DeviceClientType=EdgeAgent%2F1.0%20%28kernel%3D6%3Bx%29"
    )
    assert SETTINGS.audience == "hub.example.net/devices/d1/modules/$edgeAgent"
    assert (SETTINGS.port(MQTT), SETTINGS.port(WS)) == (8883, 443)


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": " "},
        {"device_id": ""},
        {"protocols": ()},
        {"token_life_s": 4.0},
        {"renew_before_s": 3600.0},
        {"renew_before_s": 0.0},
    ],
)
def test_what_cannot_work(wrong: dict[str, object]) -> None:
    with pytest.raises(LinkSettingsError):
        replace(SETTINGS, **wrong)  # type: ignore[arg-type]


def test_secrets_are_in_no_text() -> None:
    settings = replace(SETTINGS, proxy="http://u:secret@proxy:3128")
    assert "secret" not in repr(settings)
