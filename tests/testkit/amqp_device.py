"""A device over AMQP that is none of ours: python-qpid-proton's blocking client on a thread of its own. It
answers method calls with what it was asked.

```python
with AmqpDevice(host, port, ca_file, "d1", None, token) as device:
    ...
assert device.called == ["reset"]
```
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from proton import Link, Message, SSLDomain, Timeout, int32, symbol
from proton.reactor import AtMostOnce, LinkOption
from proton.utils import BlockingConnection

if TYPE_CHECKING:
    from pathlib import Path

WAIT_S: Final = 20.0
"""Longest wait for anything; a test that needs it has failed."""
POLL_S: Final = 0.1
ANSWER_STATUS: Final = 207


class _Channel(LinkOption):
    """Joins the two links of a method channel."""

    def apply(self, link: Link) -> None:
        link.properties = {symbol("com.microsoft:channel-correlation-id"): "methods:1"}


class AmqpDevice:
    """A connected device or module.

    :ivar called: names of the methods that were called.
    """

    def __init__(
        self, host: str, port: int, ca_file: Path, device_id: str, module_id: str | None, token: str
    ) -> None:
        self.called: list[str] = []
        self._url = f"amqps://{host}:{port}"
        self._ca_file = ca_file
        self._token = token
        module = "" if module_id is None else f"/modules/{module_id}"
        self._address = f"/devices/{device_id}{module}/methods/devicebound"
        self._ready, self._stop = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="amqp-device", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(WAIT_S), "the device did not get ready"
        if self._error is not None:
            self._thread.join()
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            self._error = error
            self._ready.set()

    def _serve(self) -> None:
        domain = SSLDomain(SSLDomain.MODE_CLIENT)
        domain.set_trusted_ca_db(str(self._ca_file))
        domain.set_peer_authentication(SSLDomain.VERIFY_PEER)
        connection = BlockingConnection(
            self._url, timeout=WAIT_S, ssl_domain=domain, sasl_enabled=True, allowed_mechs="ANONYMOUS"
        )
        try:
            self._put_token(connection)
            answers = connection.create_sender(self._address, options=[AtMostOnce(), _Channel()])
            calls = connection.create_receiver(self._address, credit=10, options=_Channel())
            self._ready.set()
            while not self._stop.is_set():
                try:
                    call = calls.receive(timeout=POLL_S)
                except Timeout:
                    continue
                answers.send(self._answer(call))
        finally:
            connection.close()

    def _put_token(self, connection: Any) -> None:
        requests, answers = connection.create_sender("$cbs"), connection.create_receiver("$cbs", credit=5)
        properties = {"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": "device"}
        requests.send(Message(id="1", reply_to="cbs", properties=properties, body=self._token))
        answer = answers.receive(timeout=WAIT_S)
        assert answer.properties["status-code"] == 200

    def _answer(self, call: Any) -> Message:
        name = call.properties["IoThub-methodname"]
        self.called.append(name)
        body = {"name": name, "payload": json.loads(bytes(call.body))}
        return Message(
            correlation_id=call.correlation_id,
            properties={"IoThub-status": int32(ANSWER_STATUS)},
            body=json.dumps(body).encode(),
            inferred=True,
        )
