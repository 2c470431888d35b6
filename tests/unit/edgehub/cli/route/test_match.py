"""`edgehub route match`."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.cli.progress import Progress
from edgehub.cli.route import message_lines
from edgehub.cli.tables import print_on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., Any]
    Write = Callable[..., str]

ROUTES = {
    "hot": 'FROM /messages/* WHERE as_number(temp) > 30 INTO BrokeredEndpoint("/modules/alarm/inputs/hot")',
    "m1": {
        "route": 'FROM /messages/modules/m1/* INTO BrokeredEndpoint("/modules/alarm/inputs/hot")',
        "priority": 0,
        "timeToLiveSecs": 60,
    },
    "body": "FROM /messages/* WHERE $body.a = 1 INTO $upstream",
}
JSON_META = {"contentType": "application/json", "contentEncoding": "utf-8"}
MESSAGES: list[dict[str, Any]] = [
    {"properties": {"temp": "31"}},
    {"source": "/messages/modules/m1/outputs/o1", "systemProperties": JSON_META, "body": '{"a": 1}'},
    {"properties": {"temp": None}},
    {"source": "/twinChangeNotifications"},
    {"systemProperties": JSON_META, "bodyBase64": "eyJhIjogMX0="},
]


def as_lines(*messages: Any) -> str:
    return "".join(json.dumps(message) + "\n" for message in messages)


def once_then_interrupt(batches: Iterator[Any]) -> Iterator[Any]:
    yield next(batches)
    raise KeyboardInterrupt


def delivery(endpoint: str, route: str, priority: int = 2_000_000_000, ttl_secs: int = 0) -> dict[str, Any]:
    return {"endpoint": endpoint, "route": route, "priority": priority, "ttlSecs": ttl_secs}


def test_json_has_one_line_for_each_message(run: Run, write: Write) -> None:
    path = write(as_lines(*MESSAGES), "messages.jsonl")
    result = run("match", write(ROUTES), "--messages", path, "--json", "--device", "gw")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {
            "index": 0,
            "verdicts": {"hot": "true", "body": "undefined"},
            "deliveries": [delivery("gw/alarm/hot", "hot")],
        },
        {
            "index": 1,
            "verdicts": {"hot": "undefined", "m1": "true", "body": "true"},
            "deliveries": [delivery("gw/alarm/hot", "m1", 0, 60), delivery("iothub", "body")],
        },
        {"index": 2, "verdicts": {"hot": "undefined", "body": "undefined"}, "deliveries": []},
        {"index": 3, "verdicts": {}, "deliveries": []},
        {
            "index": 4,
            "verdicts": {"hot": "undefined", "body": "true"},
            "deliveries": [delivery("iothub", "body")],
        },
    ]


def test_messages_may_come_from_standard_input(run: Run, write: Write) -> None:
    result = run("match", write(ROUTES), "--messages", "-", "--json", stdin=as_lines(*MESSAGES))
    assert len(result.stdout.splitlines()) == len(MESSAGES)


def test_text_counts_by_route_and_by_endpoint(run: Run, write: Write) -> None:
    result = run("match", write(ROUTES), "--messages", "-", stdin=as_lines(*MESSAGES))
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines() if line] == [
        ["route", "matched", "false", "undefined", "chosen"],
        ["hot", "1", "0", "3", "1"],
        ["m1", "1", "0", "0", "1"],
        ["body", "2", "0", "2", "2"],
        ["endpoint", "messages"],
        ["device/alarm/hot", "2"],
        ["iothub", "2"],
        ["5", "messages,", "2", "taken", "by", "no", "route"],
    ]


def test_a_bad_route_is_told_once_and_left_out(run: Run, write: Write) -> None:
    routes = {**ROUTES, "bad": "FROM /* WHERE (1 INTO $upstream", "worse": 5}
    result = run("match", write(routes), "--messages", "-", "--json", stdin=as_lines(*MESSAGES))
    assert result.exit_code == 1
    assert result.stderr.count("'bad'") == 1
    assert result.stderr.count("'worse'") == 1
    assert json.loads(result.stdout.splitlines()[0])["verdicts"] == {"hot": "true", "body": "undefined"}


def test_routes_that_are_too_many_stop_the_run(run: Run, write: Write) -> None:
    routes = dict.fromkeys(map(str, range(10_001)), "FROM /* INTO $upstream")
    result = run("match", write(routes), "--messages", "-", stdin="{}\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "10000" in result.stderr


def test_an_interrupted_run_shows_what_it_counted(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = message_lines.batches
    monkeypatch.setattr(message_lines, "batches", lambda stream: once_then_interrupt(batches(stream)))
    result = run("match", write(ROUTES), "--messages", "-", stdin=as_lines(*MESSAGES))
    assert result.exit_code == 1
    assert result.stderr == "edgehub: interrupted after 5 messages\n"
    assert result.stdout.splitlines()[-1] == "5 messages, 2 taken by no route"


def test_a_route_that_is_declared_twice_is_left_out(run: Run, write: Write) -> None:
    routes = '{"a": "FROM /* INTO $upstream", "a": "FROM /* INTO $upstream"}'
    result = run("match", write(routes), "--messages", "-", "--json", stdin="{}\n")
    assert result.exit_code == 1
    assert "route 'a' left out" in result.stderr
    assert json.loads(result.stdout) == {"index": 0, "verdicts": {}, "deliveries": []}


def test_bad_lines_are_told_and_the_run_goes_on(run: Run, write: Write) -> None:
    stdin = as_lines(MESSAGES[0], {"body": 5}) + "\n{nonsense\n" + as_lines(MESSAGES[3])
    result = run("match", write(ROUTES), "--messages", "-", "--json", stdin=stdin)
    shown = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert [line["index"] for line in shown] == [0, 1, 2, 3]
    assert ["error" in line for line in shown] == [False, True, True, False]
    assert shown[1]["error"].startswith("key 'body'")
    assert [line.split(":")[2] for line in result.stderr.splitlines()] == ["2", "4"]
    result = run("match", write(ROUTES), "--messages", "-", stdin=stdin)
    assert result.stdout.splitlines()[-1] == "2 messages, 1 taken by no route, 2 wrong lines"


def test_a_run_over_many_batches(run: Run, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_lines, "BATCH_MSGS", 7)
    stdin = as_lines(*MESSAGES * 20)
    result = run("match", write(ROUTES), "--messages", "-", "--json", stdin=stdin)
    shown = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["index"] for line in shown] == list(range(100))
    assert [line["deliveries"] for line in shown[:5]] * 20 == [line["deliveries"] for line in shown]


def test_files_that_are_not_there(run: Run, write: Write) -> None:
    result = run("match", write(ROUTES), "--messages", "/nonexistent/messages.jsonl")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "edgehub: /nonexistent/messages.jsonl: No such file or directory\n"
    assert run("match", "/nonexistent/routes.json", "--messages", "-", stdin="").exit_code == 1


def test_messages_are_required(run: Run, write: Write) -> None:
    assert run("match", write(ROUTES)).exit_code == 2


@pytest.mark.parametrize("command", ["check", "explain", "match"])
def test_help_has_examples(run: Run, command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert f"edgehub route {command} routes.json" in result.stdout


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_and_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress()
    progress.clear()
    assert terminal.getvalue() == ""
    progress.tell(1000)
    progress.clear()
    assert terminal.getvalue() == "\r1,000 messages \r\x1b[K"


def test_progress_is_silent_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.tell(1000)
    progress.clear()
    assert capsys.readouterr().err == ""


def test_tables_on_a_terminal_show_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_on_terminal([(("route", "matched"), [["[bold]x", "3"]])])
    shown = capsys.readouterr().out
    assert "[bold]x" in shown
    assert "3" in shown
