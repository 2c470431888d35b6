"""What the next agent's container is made of, and where this one finds out which it is."""

from __future__ import annotations

from edgeagent.executor.self_update import own_container_id, successor_body

ID = "3f" * 32
OLD = {
    "Config": {"Env": ["IotHubConnectionString=secret", "PATH=/bin", "EDGEAGENT_HOME=/data"]},
    "HostConfig": {
        "Binds": [
            "/var/run/docker.sock:/var/run/docker.sock",
            "/data:/data",
            "/data/mnt/$edgeAgent:/var/run/iotedge",
        ]
    },
}
BODY = {
    "Image": "edge-agent:2",
    "Env": ["EDGEAGENT_HOME=/other", "IOTEDGE_MODULEID=$edgeAgent"],
    "HostConfig": {"Binds": ["/elsewhere:/data", "/data/mnt/$edgeAgent:/var/run/iotedge"]},
}


def test_the_next_agent_reaches_what_this_one_reaches() -> None:
    body = successor_body(OLD, BODY)
    assert body["HostConfig"]["Binds"] == [
        "/var/run/docker.sock:/var/run/docker.sock",
        "/elsewhere:/data",
        "/data/mnt/$edgeAgent:/var/run/iotedge",
    ]
    assert body["Env"] == [
        "EDGEAGENT_HOME=/other",
        "IOTEDGE_MODULEID=$edgeAgent",
        "IotHubConnectionString=secret",
    ]
    assert body["HostConfig"]["RestartPolicy"] == {"Name": "always"}
    assert body["Image"] == "edge-agent:2"


def test_a_restart_policy_of_the_deployment_stands() -> None:
    host = {**BODY["HostConfig"], "RestartPolicy": {"Name": "no"}}  # type: ignore[dict-item]
    assert successor_body(OLD, {**BODY, "HostConfig": host})["HostConfig"]["RestartPolicy"] == {"Name": "no"}


def test_an_old_container_of_which_little_is_known() -> None:
    body = successor_body({}, {"Image": "edge-agent:2"})
    assert body["HostConfig"]["Binds"] == []
    assert body["Env"] == []


def test_the_id_of_ones_own_container() -> None:
    line = f"812 800 0:48 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/vda rw"
    assert own_container_id(f"1 2 3\n{line}\n") == ID
    assert own_container_id("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n") is None
    assert own_container_id("") is None
