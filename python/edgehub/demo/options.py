"""Arguments of `edgehub demo`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SECONDS_DEFAULT: Final = 30.0
SECONDS_MIN: Final = 5.0
SECONDS_MAX: Final = 3600.0
RATE_DEFAULT: Final = 50.0
RATE_MAX: Final = 500.0
"""Beyond this the SDK in the filter process, which handles the messages of all devices, cannot follow."""
OUTAGE_DEFAULT_S: Final = 6.0
OUTAGE_SHARE: Final = 0.25
"""Without `--outage-seconds` an outage takes at most this share of the run."""
MARGIN_S: Final = 2.0
"""The link is up at least this long before the run ends, and before the outage."""

_EXAMPLES = """\
what it does:
  starts an IoT Hub (iothub) and an edge hub (edgehub) on loopback addresses, two devices and a filter module
  that use the unmodified azure-iot-device from PyPI, cuts the link between the hubs for a while, and accounts
  for every message at the end. The exit code is 0 only if nothing was lost or reordered.

examples:
  edgehub demo                          half a minute, with an outage in the middle
  edgehub demo --seconds 60 --rate 200  longer and faster
  edgehub demo --outage-seconds 0       without an outage
  edgehub demo --json > ledger.json     the ledger for machines; progress goes to standard error
  edgehub demo --keep                   leave the system running afterwards and show how to reach it
  edgehub demo --data-dir ./run1        keep databases, journals and logs
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What to do.

    :param seconds: time that the devices send.
    :param rate: messages per second of each device.
    :param outage_s: time without link in the middle; 0 for none.
    :param data_dir: keeps everything there; None: a temporary folder.
    """

    seconds: float = SECONDS_DEFAULT
    rate: float = RATE_DEFAULT
    outage_s: float = OUTAGE_DEFAULT_S
    keep: bool = False
    data_dir: Path | None = None
    json: bool = False

    @property
    def outage_start_s(self) -> float:
        """When the link is cut: the outage lies in the middle of the run."""
        return (self.seconds - self.outage_s) / 2

    @property
    def outage_end_s(self) -> float:
        return self.outage_start_s + self.outage_s


def parse_options(argv: list[str] | None) -> Options:
    """Reads arguments; ends the process with 2 and a usage line when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="edgehub demo",
        description="A whole system on this machine, watched live and accounted for message by message.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS_DEFAULT,
        metavar="S",
        help="time that the devices send (%(default)g)",
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=RATE_DEFAULT,
        metavar="N",
        help=f"messages per second of each device (%(default)g, at most {RATE_MAX:g})",
    )
    parser.add_argument(
        "--outage-seconds",
        type=float,
        metavar="S",
        help=f"time without upstream link, half-way; 0 for none ({OUTAGE_DEFAULT_S:g}, less in a short run)",
    )
    parser.add_argument("--keep", action="store_true", help="leave the system running until Ctrl-C")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="new or empty folder for all data, which stays"
    )
    parser.add_argument("--json", action="store_true", help="print the ledger as JSON on standard output")
    given = parser.parse_args(argv)
    try:
        return check_options(given)
    except ValueError as error:
        parser.error(str(error))


def check_options(given: argparse.Namespace) -> Options:
    """Checks ranges and fills in what depends on others.

    :raises ValueError: names the argument and its range.
    """
    # Written so that a value that is not a number fails as well.
    if not SECONDS_MIN <= given.seconds <= SECONDS_MAX:
        raise ValueError(f"--seconds {given.seconds:g}: from {SECONDS_MIN:g} to {SECONDS_MAX:g}")
    if not 0 < given.rate <= RATE_MAX:
        raise ValueError(f"--rate {given.rate:g}: more than 0, at most {RATE_MAX:g}")
    outage_max_s = given.seconds - 2 * MARGIN_S
    outage_s = given.outage_seconds
    if outage_s is None:
        outage_s = min(OUTAGE_DEFAULT_S, given.seconds * OUTAGE_SHARE, outage_max_s)
    if not 0 <= outage_s <= outage_max_s:
        raise ValueError(
            f"--outage-seconds {outage_s:g}: from 0 to {outage_max_s:g} in a run of {given.seconds:g} s"
        )
    if given.data_dir is not None and given.data_dir.exists() and _has_content(given.data_dir):
        raise ValueError(f"--data-dir {given.data_dir}: expected a new or empty folder")
    return Options(given.seconds, given.rate, outage_s, given.keep, given.data_dir, given.json)


def _has_content(path: Path) -> bool:
    return not path.is_dir() or any(path.iterdir())
