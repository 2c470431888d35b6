"""Whether the agent does its work: the answer of `/healthz`. Pure: time is passed in."""

from __future__ import annotations

STALLED_S = 120.0
"""A round takes 30 s at most, and begins every few seconds. Without one for so long the loop hangs."""


class Health:
    """The agent is well as long as its rounds go on, also while the engine does not answer: starting the
    agent again would not help then.
    """

    def __init__(self) -> None:
        self._round_s: float | None = None
        self._engine_answers = True
        self._stopping = False

    def round_ended(self, now_s: float, *, engine_answers: bool) -> None:
        """One more round of the loop.

        :param now_s: of a clock that only goes forward.
        """
        self._round_s = now_s
        self._engine_answers = engine_answers

    def stopping(self) -> None:
        """The agent is about to end."""
        self._stopping = True

    def answer(self, now_s: float) -> tuple[int, dict[str, str]]:
        """HTTP status and JSON body."""
        if self._stopping:
            return 503, {"status": "stopping", "reason": "shutdown in progress"}
        if self._round_s is None:
            return 503, {"status": "starting", "reason": "no round of the loop has ended yet"}
        silent_s = now_s - self._round_s
        if silent_s > STALLED_S:
            return 503, {"status": "failed", "reason": f"no round of the loop for {silent_s:.0f} s"}
        return 200, {"status": "ok", "engine": "ok" if self._engine_answers else "does not answer"}
