"""What Python counts itself: events of the control plane, never per message."""

from __future__ import annotations

from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.common.clock import Clock
    from edgehub.common.ids import IdentityId

IDS_MAX = 10_000
"""Distinct ids of one counter; later ones are counted together as `other`. Ids of refused clients are
whatever an outsider writes."""
OTHER = "other"
WINDOW_S = 600.0
SAMPLES_MAX = 1000
QUANTILES = (0.1, 0.5, 0.9, 0.99)
PLACES = ("edge_hub", "upstream")
"""Where twins are read from, and reported properties go to."""


class IdCounter:
    """A counter per id with bounded memory.

    :param label_of: text of an id; asked for when the counters are read, which is seldom.
    """

    def __init__(self, ids_max: int = IDS_MAX, label_of: Callable[[IdentityId], str] = str) -> None:
        self._counts: Counter[IdentityId | str] = Counter()
        self._ids_max = ids_max
        self._label_of = label_of

    def add(self, counted: IdentityId | str) -> None:
        """One more; a text is a label already."""
        if counted not in self._counts and len(self._counts) >= self._ids_max:
            counted = OTHER
        self._counts[counted] += 1

    def items(self) -> list[tuple[str, int]]:
        """Labels and counts, sorted."""
        rows = self._counts.items()
        return sorted((key if isinstance(key, str) else self._label_of(key), count) for key, count in rows)


class Summary:
    """Count and sum since start, quantiles over the last ten minutes."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES_MAX)

    def observe(self, value: float, now_s: float) -> None:
        self.count += 1
        self.sum += value
        self._samples.append((now_s, value))

    def quantiles(self, now_s: float) -> list[tuple[float, float]]:
        """Quantile and value; not a number without a sample in the window."""
        values = sorted(value for at_s, value in self._samples if now_s - at_s <= WINDOW_S)
        if not values:
            return [(quantile, float("nan")) for quantile in QUANTILES]
        return [(quantile, values[int(quantile * (len(values) - 1))]) for quantile in QUANTILES]


class TwinTotals:
    """Counters of the twins of clients, by where something went or came from: `edge_hub` or `upstream`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.reads = {place: IdCounter() for place in PLACES}
        self.read_s = {place: Summary() for place in PLACES}
        self.reports = {place: IdCounter() for place in PLACES}
        self.report_s = {place: Summary() for place in PLACES}
        self.reports_refused = IdCounter()

    def twin_read(self, identity: IdentityId, source: str, seconds: float) -> None:
        """A client read its twin."""
        self.reads[source].add(identity)
        self.read_s[source].observe(seconds, self._clock.monotonic_s())

    def twin_reported(self, identity: IdentityId, target: str, seconds: float) -> None:
        """Reported properties were stored, or arrived."""
        self.reports[target].add(identity)
        self.report_s[target].observe(seconds, self._clock.monotonic_s())

    def report_refused(self, identity: IdentityId) -> None:
        """The parent hub refused reported properties for good."""
        self.reports_refused.add(identity)


class MethodTotals:
    """Method calls by caller and target. Bounded like ids: beyond, they are counted as `other`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.calls: Counter[tuple[str, str]] = Counter()
        self.call_s = Summary()

    def method_called(self, caller: str, target: IdentityId, seconds: float) -> None:
        """A target was called, whatever became of it."""
        key = (caller, str(target))
        if key not in self.calls and len(self.calls) >= IDS_MAX:
            key = (OTHER, OTHER)
        self.calls[key] += 1
        self.call_s.observe(seconds, self._clock.monotonic_s())


class HubTotals:
    """Counters of the control plane; a `ClientObserver` of the heads and told of the link's state."""

    def __init__(self, clock: Clock, hub_host: str) -> None:
        self._clock = clock
        label_of = partial(long_id, hub_host=hub_host)
        self.connect_success = IdCounter(label_of=label_of)
        self.connect_failed = IdCounter()
        self.disconnect = IdCounter(label_of=label_of)
        self.twins = TwinTotals(clock)
        self.methods = MethodTotals(clock)
        self.offline_count = 0
        self.offline_duration_s = Summary()
        self._offline_since_s: float | None = clock.monotonic_s()

    def connected(self, identity: IdentityId) -> None:
        self.connect_success.add(identity)

    def disconnected(self, identity: IdentityId) -> None:
        self.disconnect.add(identity)

    def refused(self, claimed: str, *, not_authenticated: bool) -> None:
        if not_authenticated:
            self.connect_failed.add(claimed)

    def link_up(self) -> None:
        """The parent hub can be reached. The first time also counts as the end of being offline."""
        if self._offline_since_s is not None:
            now_s = self._clock.monotonic_s()
            self.offline_duration_s.observe(now_s - self._offline_since_s, now_s)
            self._offline_since_s = None

    def link_down(self) -> None:
        """The parent hub cannot be reached any more."""
        if self._offline_since_s is None:
            self.offline_count += 1
            self._offline_since_s = self._clock.monotonic_s()


def long_id(identity: IdentityId, hub_host: str) -> str:
    """The id text of the connect and disconnect counters."""
    module = "" if identity.module_id is None else f"; ModuleId: {identity.module_id}"
    return f"DeviceId: {identity.device_id}{module} [IotHubHostName: {hub_host}]"
