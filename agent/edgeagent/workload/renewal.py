"""When a CA certificate is renewed, and when its end is worth a warning. Pure (agent spec 7.6, row X06)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

RENEW_AT = 0.8
"""Part of the validity after which a CA of our own is renewed, and the operator is warned about theirs."""

CLOCK_SET_FROM = datetime(2026, 1, 1, tzinfo=UTC)
"""A clock before this was never set: boards without a battery start in 1970."""

CLOCK_BEHIND_MAX = timedelta(days=1)


def renewal_due(not_before: datetime, not_after: datetime, now: datetime) -> bool:
    """Whether 80 % of the validity are over, or it begins in a time that the clock only jumped to.

    Such a CA would be good for nothing until then. A clock that is not set yet is no reason for another CA.
    """
    if now < not_before - CLOCK_BEHIND_MAX:
        return now >= CLOCK_SET_FROM
    return now >= not_before + (not_after - not_before) * RENEW_AT


def expiry_warning(
    not_before: datetime, not_after: datetime, now: datetime, *, renewed_here: bool
) -> str | None:
    """What to tell the operator about a CA, None while all is well.

    :param renewed_here: whether it is renewed without their help.
    """
    advice = "it is renewed within a minute, or the log says why not" if renewed_here else "replace its files"
    if now < not_before:
        return f"the CA certificate is valid from {not_before.isoformat()}; this clock says {now.isoformat()}"
    if now >= not_after:
        return f"the CA certificate expired on {not_after.isoformat()}, so none is issued: {advice}"
    if renewal_due(not_before, not_after, now):
        return f"the CA certificate expires on {not_after.isoformat()}: {advice}"
    return None
