"""The error catalogue: one code, always the same number, name, status and condition."""

from __future__ import annotations

import json

import pytest

from iothub.errors import ERROR_HEADER, ErrorCode, HubError

NOW = 1_767_225_600.0


@pytest.mark.parametrize("code", ErrorCode, ids=lambda code: code.name)
def test_every_form_agrees(code: ErrorCode) -> None:
    error = HubError(code, "what was wrong")
    assert error.headers() == {ERROR_HEADER: code.name}
    assert 400 <= code.http_status <= 504
    classic = error.body(NOW, tracking_id="t1")
    assert classic == {
        "Message": f"ErrorCode:{code.name};what was wrong",
        "ExceptionMessage": "Tracking ID:t1",
    }
    structured = json.loads(error.body(NOW, structured=True, tracking_id="t1")["Message"])
    assert structured == {
        "errorCode": code.number,
        "trackingId": "t1",
        "message": "what was wrong",
        "timestampUtc": "2026-01-01T00:00:00.000Z",
    }
    fault = error.fault()
    assert fault.condition == code.condition
    assert json.loads(fault.description)["errorCode"] == code.number


def test_numbers_are_unique() -> None:
    assert len({code.number for code in ErrorCode}) == len(ErrorCode)


def test_tracking_id_names_the_time() -> None:
    text = HubError(ErrorCode.ServerError, "x").body(NOW)["ExceptionMessage"]
    assert text.endswith("-G:0-TimeStamp:01/01/2026 00:00:00")
