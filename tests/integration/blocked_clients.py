"""A device and a module in a process of their own, so that a blocked test process does not block them.

Arguments: port, seconds. Publishes one message after the other; prints, as JSON, the monotonic times at
which acknowledgements and deliveries came.
"""

import json
import select
import sys
import time

from testkit.wire import (
    CONNACK,
    PUBACK,
    PUBLISH,
    SUBACK,
    WireClient,
    connect_packet,
    puback_packet,
    publish_packet,
    subscribe_packet,
)


def main(port: int, seconds: float) -> None:
    """Runs both clients."""
    device, module = WireClient(port), WireClient(port)
    device.send(connect_packet("leaf", "u", "p"))
    device.expect(CONNACK)
    module.send(connect_packet("edge1/m", "u", "p"))
    module.expect(CONNACK)
    module.send(subscribe_packet("devices/edge1/modules/m/inputs/#"))
    module.expect(SUBACK)
    say("ready")
    times: dict[str, list[float]] = {"acks": [], "deliveries": []}
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number = number % 65535 + 1
        device.send(publish_packet("devices/leaf/messages/events/", b"x" * 100, number))
        assert device.expect(PUBACK).acked == number
        times["acks"].append(time.monotonic())
        while select.select([module.socket], [], [], 0)[0]:
            module.send(puback_packet(module.expect(PUBLISH).message()[1]))
            times["deliveries"].append(time.monotonic())
    say(json.dumps(times))


def say(line: str) -> None:
    """A line for the test, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
