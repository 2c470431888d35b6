"""What a container is made of (rows C01 to C09, C17)."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.model.module import Module
from edgeagent.runtime import labels
from edgeagent.runtime.errors import ContainerSpecError
from edgeagent.runtime.spec import ModuleContext, container_body

CONTEXT = ModuleContext(
    hub_hostname="hub1.example.net",
    device_id="d1",
    device_hostname="gateway1",
    generation_id="637000000000000000",
    workload_folder="/var/lib/aziot/edged/mnt/sensor",
)
NESTED = dataclasses.replace(CONTEXT, parent_hostname="parent1")


def module(name: str = "sensor", options: dict[str, Any] | None = None, **members: Any) -> Module:
    return Module(name=name, image="reg.example.net/x:1", create_options=options or {}, **members)


def body(
    name: str = "sensor",
    options: dict[str, Any] | None = None,
    context: ModuleContext = CONTEXT,
    **members: Any,
) -> dict[str, Any]:
    return container_body(module(name, options, **members), context)


def env_of(made: dict[str, Any]) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in made["Env"])


@pytest.mark.parametrize("name", ["sensor", "edgeHub", "edgeAgent"])
def test_c01_owner_image_and_hash_labels_on_every_container(name: str) -> None:
    made = body(name, {"Labels": {"mine": "1", labels.OWNER: "me", labels.SPEC_HASH: "0"}})
    assert made["Labels"]["net.azure-devices.edge.owner"] == "Microsoft.Azure.Devices.Edge.Agent"
    assert made["Labels"]["net.azure-devices.edge.original-image"] == "reg.example.net/x:1"
    assert made["Labels"][labels.SPEC_HASH] != "0"
    assert made["Labels"]["mine"] == "1"


def test_c01_the_hash_label_is_of_the_module() -> None:
    wanted = module(options={"Labels": {"a": "b"}}, env={"X": "1"})
    assert container_body(wanted, CONTEXT)["Labels"][labels.SPEC_HASH] == wanted.spec_hash


def test_c02_create_options_and_env_labels_on_the_agent_only() -> None:
    options = {"HostConfig": {"Binds": ["/a:/b"]}}
    given_labels = body("edgeAgent", options, env={"A": "1"})["Labels"]
    assert json.loads(given_labels["net.azure-devices.edge.create-options"]) == options
    assert json.loads(given_labels["net.azure-devices.edge.env"]) == {"A": {"value": "1"}}
    plain = body("edgeAgent")["Labels"]
    assert (plain[labels.CREATE_OPTIONS], plain[labels.ENV]) == ("{}", "{}")
    for name in ("sensor", "edgeHub"):
        assert not {labels.CREATE_OPTIONS, labels.ENV} & set(body(name)["Labels"])


def test_c03_environment_of_a_user_module() -> None:
    assert env_of(body(env={"INTERVAL": "5"})) == {
        "INTERVAL": "5",
        "IOTEDGE_APIVERSION": "2022-08-03",
        "IOTEDGE_AUTHSCHEME": "sasToken",
        "IOTEDGE_DEVICEID": "d1",
        "IOTEDGE_GATEWAYHOSTNAME": "gateway1",
        "IOTEDGE_IOTHUBHOSTNAME": "hub1.example.net",
        "IOTEDGE_MODULEGENERATIONID": "637000000000000000",
        "IOTEDGE_MODULEID": "sensor",
        "IOTEDGE_WORKLOADURI": "unix:///var/run/iotedge/workload.sock",
        "RuntimeLogLevel": "Information",
    }


def test_c04_environment_of_the_hub() -> None:
    env = env_of(body("edgeHub"))
    assert env["EdgeDeviceHostName"] == "gateway1"
    assert env["IOTEDGE_MODULEID"] == "$edgeHub"
    assert "IOTEDGE_GATEWAYHOSTNAME" not in env
    assert env_of(body("edgeHub", context=NESTED))["IOTEDGE_GATEWAYHOSTNAME"] == "parent1"


def test_c05_nested_modules_know_the_parent() -> None:
    env = env_of(body(context=NESTED))
    assert (env["IOTEDGE_GATEWAYHOSTNAME"], env["IOTEDGE_PARENTHOSTNAME"]) == ("gateway1", "parent1")
    assert "IOTEDGE_PARENTHOSTNAME" not in env_of(body("edgeHub", context=NESTED))


def test_environment_of_the_agent() -> None:
    context = dataclasses.replace(CONTEXT, workload_folder="/data/edged/mnt/edgeAgent", network="net1")
    env = env_of(body("edgeAgent", context=context))
    assert env["IOTEDGE_MANAGEMENTURI"] == "unix:///var/run/iotedge/mgmt.sock"
    assert env["NetworkId"] == "net1"
    assert env["IOTEDGE_WORKLOADLISTEN_MNTURI"] == "unix:///data/edged/mnt"
    assert env["Mode"] == "iotedged"
    assert env["EdgeDeviceHostName"] == "gateway1"
    assert env["IOTEDGE_MODULEID"] == "$edgeAgent"


def test_c06_wishes_of_the_agent_only_where_the_module_has_none() -> None:
    context = dataclasses.replace(CONTEXT, upstream_protocol="Mqtt", log_level="Debug")
    env = env_of(body(context=context))
    assert (env["RuntimeLogLevel"], env["UpstreamProtocol"]) == ("Debug", "Mqtt")
    env = env_of(body(context=context, env={"runtimeloglevel": "error", "UPSTREAMPROTOCOL": "Amqp"}))
    assert not {"RuntimeLogLevel", "UpstreamProtocol"} & set(env)
    env = env_of(body(context=context, options={"Env": ["UpstreamProtocol=AmqpWs"]}))
    assert env["UpstreamProtocol"] == "AmqpWs"
    assert "UpstreamProtocol" not in env_of(body())


def test_c07_create_options_win_over_all_and_the_list_is_sorted() -> None:
    made = body(
        options={"Env": ["Z=last", "IOTEDGE_DEVICEID=mine", "BOTH=options", "GONE", "A=x=y"]},
        env={"BOTH": "manifest", "M": "m"},
    )
    names = [entry.partition("=")[0] for entry in made["Env"]]
    assert names == sorted(names)
    assert len(names) == len(set(names))
    assert {"Z=last", "IOTEDGE_DEVICEID=mine", "BOTH=options", "GONE", "A=x=y", "M=m"} <= set(made["Env"])


def test_c08_socket_binds_behind_those_of_the_user() -> None:
    made = body(options={"HostConfig": {"Binds": ["/data:/data"]}})
    assert made["HostConfig"]["Binds"] == [
        "/data:/data",
        "/var/lib/aziot/edged/mnt/sensor:/var/run/iotedge",
    ]
    for name in ("edgeAgent", "edgeHub"):
        assert len(body(name)["HostConfig"]["Binds"]) == 1


def test_c09_our_network_only_where_the_user_has_none() -> None:
    assert body()["NetworkingConfig"] == {"EndpointsConfig": {"azure-iot-edge": {}}}
    hub = body("edgeHub")["NetworkingConfig"]["EndpointsConfig"]
    assert hub == {"azure-iot-edge": {"Aliases": ["gateway1"]}}
    own: dict[str, Any] = {"EndpointsConfig": {"other": {}}}
    assert body("edgeHub", {"NetworkingConfig": own})["NetworkingConfig"] == own
    empty = body(options={"NetworkingConfig": {"EndpointsConfig": None}})
    assert empty["NetworkingConfig"] == body()["NetworkingConfig"]


@pytest.mark.parametrize("mode", ["host", "none", "container:other"])
def test_c09_a_module_that_can_have_no_second_network_gets_none(mode: str) -> None:
    assert "NetworkingConfig" not in body(options={"HostConfig": {"NetworkMode": mode}})


@pytest.mark.parametrize("mode", ["default", "bridge", ""])
def test_c09_other_modes_get_our_network(mode: str) -> None:
    assert body(options={"HostConfig": {"NetworkMode": mode}})["NetworkingConfig"]


def test_c17_privileges_are_dropped_where_they_are_not_allowed() -> None:
    strict = dataclasses.replace(CONTEXT, allow_elevated=False)
    host = {"Privileged": True, "CapAdd": ["NET_ADMIN", "CAP_CHOWN"], "CapDrop": ["MKNOD"]}
    made = body(options={"HostConfig": host}, context=strict)["HostConfig"]
    assert made["Privileged"] is False
    assert "CapAdd" not in made
    assert made["CapDrop"] == ["MKNOD", "SETUID"]
    assert body(context=strict)["HostConfig"]["CapDrop"] == ["CHOWN", "SETUID"]
    listed = {"HostConfig": {"CapAdd": ["setuid", "CHOWN"], "CapDrop": ["CAP_CHOWN"]}}
    assert body(options=listed, context=strict)["HostConfig"]["CapDrop"] == ["CAP_CHOWN"]
    free = body(options={"HostConfig": host})["HostConfig"]
    assert (free["Privileged"], free["CapAdd"]) == (True, ["NET_ADMIN", "CAP_CHOWN"])


def test_c17_in_another_case_is_dropped_too() -> None:
    strict = dataclasses.replace(CONTEXT, allow_elevated=False)
    made = body(options={"hostconfig": {"privileged": True, "capadd": ["ALL"]}}, context=strict)
    assert made["HostConfig"]["Privileged"] is False
    assert "ALL" not in json.dumps(made)


def test_the_image_is_of_the_settings_and_unknown_members_stay() -> None:
    made = body(
        options={"Image": "other:1", "Hostname": "h", "HostConfig": {"Memory": 5}, "Odd": {"X": None}}
    )
    assert (made["Image"], made["Hostname"], made["Odd"]) == ("reg.example.net/x:1", "h", {"X": None})
    assert made["HostConfig"]["Memory"] == 5


def test_members_in_another_case_are_one_member() -> None:
    made = body(
        options={"env": ["A=1"], "HOSTCONFIG": {"binds": ["/a:/b"]}, "image": "x", "labels": {"Env": "e"}}
    )
    assert {name.lower() for name in made} == {"env", "hostconfig", "image", "labels", "networkingconfig"}
    assert len(made) == 5
    assert "A=1" in made["Env"]
    assert made["HostConfig"]["Binds"][0] == "/a:/b"
    assert made["Labels"]["Env"] == "e"


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"HostConfig": []}, "sensor.createOptions.HostConfig: expected an object"),
        ({"env": "A=1"}, "sensor.createOptions.Env: expected an array of strings"),
        (
            {"hostconfig": {"binds": [1]}},
            "sensor.createOptions.HostConfig.Binds: expected an array of strings",
        ),
        ({"Labels": "x"}, "sensor.createOptions.Labels: expected an object"),
        ({"Env": [], "env": []}, "sensor.createOptions.env: stands twice"),
    ],
)
def test_shapes_that_nothing_can_be_added_to(options: dict[str, Any], place: str) -> None:
    with pytest.raises(ContainerSpecError, match=place):
        body(options=options)


@pytest.mark.parametrize("member", ["Env", "Labels", "HostConfig", "NetworkingConfig"])
def test_null_is_as_good_as_nothing(member: str) -> None:
    assert body(options={member: None}) == body() | {
        "Labels": body()["Labels"] | {labels.SPEC_HASH: module(options={member: None}).spec_hash}
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["Env", "env", "Labels", "HostConfig", "Binds", "CapAdd", "NetworkingConfig", "Cmd"])


@given(st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON, max_size=3)), st.booleans())
def test_any_options_give_a_body_or_our_error_and_stay_untouched(
    options: dict[str, Any], elevated: bool
) -> None:
    before = copy.deepcopy(options)
    context = dataclasses.replace(CONTEXT, allow_elevated=elevated)
    try:
        made = body(options=options, context=context)
    except ContainerSpecError:
        pass
    else:
        assert made["Labels"][labels.OWNER] == labels.OWNER_VALUE
        assert json.dumps(made)
    assert options == before
