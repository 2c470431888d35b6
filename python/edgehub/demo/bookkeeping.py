"""Gathers the evidence for the ledger from the journals of the child processes and from iothub's log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgehub.demo.journal import JournalReader
from edgehub.demo.ledger import Evidence, is_summary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgehub.demo.iothub_api import TelemetryEvent


class Books:
    """The evidence so far, and the latency of what has arrived.

    :param devices: journals of the devices.
    :param module: journal of the filter.
    """

    def __init__(self, devices: Sequence[Path], module: Path) -> None:
        self.evidence = Evidence()
        self.connected = 0
        """Processes that have reported their connection."""
        self._latencies_ms: dict[str, float] = {}
        self._begun_ms: dict[str, float] = {}
        self._devices = [JournalReader(path) for path in devices]
        self._module = JournalReader(module)

    def poll(self) -> None:
        """Takes in what the processes have written since the last call.

        :raises JournalError: a journal is damaged.
        """
        for journal in self._devices:
            for entry in journal.read_new():
                self.connected += "connected" in entry
                self.note_device(entry)
        for entry in self._module.read_new():
            self.connected += "connected" in entry
            self.note_module(entry)

    def note_device(self, entry: Mapping[str, Any]) -> None:
        """One line of a device's journal."""
        if "begun" in entry:
            self.evidence.begun.append(entry["begun"])
            self._begun_ms[entry["begun"]] = entry["at_ms"]
        elif "acked" in entry:
            self.evidence.acked.append(entry["acked"])

    def note_module(self, entry: Mapping[str, Any]) -> None:
        """One line of the filter's journal."""
        if "received" in entry:
            self.evidence.received.append(entry["received"])
        elif "begun" in entry:
            self.evidence.output_begun.append(entry["begun"])
            if entry.get("alert"):
                self.evidence.alerts.add(entry["begun"])
        elif "acked" in entry:
            self.evidence.output_acked.append(entry["acked"])

    def note_arrival(self, event: TelemetryEvent) -> float | None:
        """One message in iothub's log; gives its latency in ms if it is the first of a device's message."""
        text = event.message_id
        self.evidence.delivered.append(text)
        if text not in self._begun_ms:
            # A message can be faster than the reading of its device's journal.
            self.poll()
        begun_ms = self._begun_ms.get(text)
        if begun_ms is None or text in self._latencies_ms:
            return None
        latency_ms = max(0.0, round(event.enqueued_ms - begun_ms, 1))
        self._latencies_ms[text] = latency_ms
        return latency_ms

    def latencies(self) -> list[tuple[float, float]]:
        """Of every reading that reached iothub: when its device began to send it (Unix time in ms), and how
        long it took from there to its first arrival (ms)."""
        return [(self._begun_ms[text], latency_ms) for text, latency_ms in self._latencies_ms.items()]

    @property
    def progress(self) -> int:
        """Grows with everything that happens to a message."""
        evidence = self.evidence
        return sum(
            len(ids) for ids in (evidence.acked, evidence.received, evidence.output_acked, evidence.delivered)
        )

    @property
    def filter_is_done(self) -> bool:
        """Whether the filter has received and passed on all that the devices were promised."""
        passed_on = set(self.evidence.output_acked)
        return passed_on.issuperset(self.evidence.acked) and passed_on.issuperset(self.evidence.received)

    @property
    def missing(self) -> int:
        """Messages that iothub is still owed."""
        acked = set(self.evidence.output_acked)
        owed = (acked & self.evidence.alerts) | {text for text in acked if is_summary(text)}
        return len(owed.difference(self.evidence.delivered))
