"""A real container engine and registries of one's own, in temporary folders.

They disturb no other engine on the machine: a bridge of their own, no firewall rules, files in one folder.
Containers reach each other unless another engine's firewall forbids it: `iptables -P FORWARD ACCEPT` helps.

```python
with running_dockerd() as dockerd, running_registry() as registry:
    dockerd.add_image("sensor:1")
    dockerd.push("sensor:1", registry, "sensor:1")
```
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import functools
import http.client
import io
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tarfile
import tempfile
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALL = "apt-get install docker.io docker-registry busybox-static"
START_S = 40.0
STOP_S = 20.0
USER, PASSWORD = "tester", "p@ss:w0rd/1"
UNTIL_STOPPED = "trap 'exit 143' TERM; while :; do sleep 1 & wait $!; done"
"""For `sh`. A signal just before a `wait` is seen only after it, which is therefore short."""
_PASSWORD_LINE = f"{USER}:$2y$05$v6gFXLS3qPTaKC6S9Gru5ui9BTVDsS9JQBVoe5thtX3/mWmYQEydC\n"
_SET_FLAGS, _ADD_BRIDGE, _REMOVE_BRIDGE = 0x8914, 0x89A0, 0x89A1
"""Of `ioctl`: SIOCSIFFLAGS, SIOCBRADDBR, SIOCBRDELBR."""


class NoEngine(Exception):
    """This machine cannot run a container engine; the text says why."""


def find_program(name: str) -> str:
    """Path of a program; Debian has some outside of everybody's PATH."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise NoEngine(f"{name} is missing; run: {INSTALL}")
    return found


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=START_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Dockerd:
    """An engine in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self.address = f"unix://{self.socket}"
        self.log = folder / "dockerd.log"
        # Without a bridge of its own it would take over docker0, and with none it would delete docker0.
        self._bridge = f"edge{os.getpid()}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers.

        :raises NoEngine: it does not come up.
        """
        command = [
            find_program("dockerd"), f"--host={self.address}", f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/exec", f"--pidfile={self.folder}/pid", f"--bridge={self._bridge}",
            "--iptables=false", "--ip6tables=false",
            f"--config-file={self.folder}/daemon.json", "--shutdown-timeout=5",
        ]  # fmt: skip
        (self.folder / "daemon.json").write_text("{}")
        _add_bridge(self._bridge)
        self.socket.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        _wait_until(self._answers, self._process, self.log)

    def stop(self, how: int = signal.SIGTERM) -> None:
        """Ends it, and with it its containers unless it is killed."""
        process, self._process = self._process, None
        if process is not None:
            supervisor = self._supervisor()
            _end(process, how)
            # It dies with a killed engine, and one that starts too early would count on it.
            ends_s = time.monotonic() + STOP_S
            while supervisor and Path(f"/proc/{supervisor}").exists() and time.monotonic() < ends_s:
                time.sleep(0.02)

    def _supervisor(self) -> int | None:
        try:
            return int((self.folder / "exec/containerd/containerd.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def clean(self) -> None:
        """Takes away what it leaves mounted, and its bridge."""
        _remove_bridge(self._bridge)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted((path for path in mounts if path.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run([find_program("umount"), "--lazy", mount], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            return self.call("GET", "/_ping") == b"OK"
        except OSError:
            return False

    def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        content_type: str = "application/json",
        auth: Any = None,
    ) -> bytes:
        """A request that must succeed, beside what is tested."""
        connection = _Connection(str(self.socket))
        header = base64.urlsafe_b64encode(json.dumps(auth or {}).encode()).decode()
        try:
            connection.request(method, path, body, {"Content-Type": content_type, "X-Registry-Auth": header})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        assert response.status < 400, f"{method} {path}: {response.status} {answer!r}"
        return answer

    def get(self, path: str) -> Any:
        return json.loads(self.call("GET", path))

    def add_image(self, reference: str, content: str = "", command: str = UNTIL_STOPPED) -> str:
        """An image with busybox alone; its id.

        :param content: of the file `/content`: another one makes another image.
        :param command: for `sh`. It is process 1, which SIGTERM ends only if it has a trap.
        """
        name, _, tag = reference.rpartition(":")
        changes = f"CMD {json.dumps(['sh', '-c', command])}"
        query = urllib.parse.urlencode({"fromSrc": "-", "repo": name, "tag": tag, "changes": changes})
        self.call("POST", f"/images/create?{query}", _root_tar(content), "application/x-tar")
        return str(self.get(f"/images/{reference}/json")["Id"])

    def push(self, reference: str, registry: Registry, name: str) -> str:
        """Puts an image into a registry; its reference there, which the engine itself does not keep."""
        target = f"{registry.address}/{name}"
        repository, _, tag = target.rpartition(":")
        query = urllib.parse.urlencode({"repo": repository, "tag": tag})
        self.call("POST", f"/images/{reference}/tag?{query}")
        said = self.call("POST", f"/images/{repository}/push?tag={tag}", auth=registry.auth)
        assert b'"errorDetail"' not in said, said
        self.call("DELETE", f"/images/{target}?noprune=true")
        return target

    def remove_all(self) -> None:
        """All containers, volumes and networks, for the next test."""
        for row in self.get("/containers/json?all=true"):
            self.call("DELETE", f"/containers/{row['Id']}?force=true&v=true")
        for row in self.get("/volumes")["Volumes"] or ():
            self.call("DELETE", f"/volumes/{row['Name']}?force=true")
        for row in self.get("/networks"):
            if row["Name"] not in ("bridge", "host", "none"):
                self.call("DELETE", f"/networks/{row['Id']}")


@dataclass
class Registry:
    """A registry on a port of the loopback interface."""

    address: str
    folder: Path
    auth: dict[str, str] | None = None


@contextlib.contextmanager
def running_dockerd() -> Iterator[Dockerd]:
    """An engine of its own.

    :raises NoEngine: this machine cannot run one.
    """
    if os.geteuid() != 0:
        raise NoEngine("a container engine must be started by root")
    dockerd = Dockerd(Path(tempfile.mkdtemp(prefix="edgeagent-docker-")))
    try:
        dockerd.start()
        yield dockerd
    finally:
        dockerd.stop()
        dockerd.clean()


@contextlib.contextmanager
def running_registry(*, secured: bool = False) -> Iterator[Registry]:
    """A registry of its own.

    :param secured: it wants :data:`USER` and :data:`PASSWORD`.
    :raises NoEngine: the program is missing.
    """
    program = find_program("docker-registry")
    with tempfile.TemporaryDirectory(prefix="edgeagent-registry-") as name:
        folder = Path(name)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        (folder / "passwords").write_text(_PASSWORD_LINE)
        (folder / "config.yml").write_text(json.dumps(_registry_config(folder, address, secured=secured)))
        with (folder / "log").open("wb") as log:
            command = [program, "serve", str(folder / "config.yml")]
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_until(functools.partial(_listens, address), process, folder / "log")
            auth = {"username": USER, "password": PASSWORD, "serveraddress": address} if secured else None
            yield Registry(address, folder, auth)
        finally:
            _end(process, signal.SIGTERM)


def _registry_config(folder: Path, address: str, *, secured: bool) -> dict[str, Any]:
    """JSON is YAML too."""
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": address},
    }
    if secured:
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "passwords")}}
    return config


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _wait_until(is_ready: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    ends_s = time.monotonic() + START_S
    while not is_ready():
        if process.poll() is not None or time.monotonic() > ends_s:
            _end(process, signal.SIGKILL)
            raise NoEngine(f"{process.args[0]!s} does not start: {_last_line(log)}")  # type: ignore[index]
        time.sleep(0.05)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it says nothing"


def _end(process: subprocess.Popen[bytes], how: int) -> None:
    process.send_signal(how)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _add_bridge(name: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as any_socket:
        try:
            fcntl.ioctl(any_socket, _ADD_BRIDGE, name.encode() + b"\0")
        except FileExistsError:
            return
        except OSError as fault:
            raise NoEngine(f"this machine makes no network bridge: {fault}") from None


def _remove_bridge(name: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as any_socket, contextlib.suppress(OSError):
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh22x", name.encode(), 0))
        fcntl.ioctl(any_socket, _REMOVE_BRIDGE, name.encode() + b"\0")


@functools.cache
def _busybox() -> tuple[bytes, tuple[str, ...]]:
    program = find_program("busybox")
    names = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split()
    return Path(program).read_bytes(), tuple(names)


def _root_tar(content: str) -> bytes:
    """The files of an image: busybox under all its names, and one file of text."""
    program, names = _busybox()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("bin", "tmp", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        _add_file(tar, "bin/busybox", program, 0o755)
        for name in names:
            if name != "busybox":
                entry = tarfile.TarInfo(f"bin/{name}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(entry)
        _add_file(tar, "content", content.encode(), 0o644)
    return buffer.getvalue()


def _add_file(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))
