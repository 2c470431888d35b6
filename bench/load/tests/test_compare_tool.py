"""compare.py and its parts, without a broker."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import compare
import pytest
from comparison import logins, mosquitto, options, summary
from comparison.hub import HubRecipe, split_command
from comparison.processes import (
    Endpoint,
    Needs,
    RunningBroker,
    StartError,
    broker_process,
    pinned,
    wait_until,
)
from comparison.scenarios import CONNECTS, HOLD, SCENARIOS, Scenario

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

RECIPE = HubRecipe(command=["hub"], ready_url="http://127.0.0.1:1/healthz", clients_file="c", plain_port=5)


def result(broker: str, rate: float, cpu_us: float | None = 10.0, **more: object) -> dict[str, Any]:
    """A result as the generator writes it, cut down to what the summary reads."""
    return {
        "scenario_name": "s",
        "broker_name": broker,
        "delivered_per_s": rate,
        "latency_us": {"p50": rate / 10, "p99": rate / 5, "p999": rate},
        "broker": {"cpu_us_per_delivered": cpu_us, "busy": 0.9, "peak_rss_kib": 2048},
        "generator": {"busy": 0.5},
        "problems": [],
        **more,
    }


class TestSummary:
    def test_medians_spread_and_ratios(self) -> None:
        runs = [result("peer", rate, 20.0) for rate in (100, 400, 200)]
        runs += [result("ours", rate, 5.0) for rate in (1000, 600, 900)]
        peer, ours = summary.compare(runs, ["s"], ["peer", "ours"], "peer")
        assert (peer["delivered_per_s"], peer["delivered_per_s_min"], peer["delivered_per_s_max"]) == (
            200,
            100,
            400,
        )
        assert peer["delivered_per_s_ratio"] is None
        assert ours["delivered_per_s_ratio"] == pytest.approx(4.5)
        assert ours["cpu_us_per_delivered_ratio"] == pytest.approx(0.25)
        assert (ours["latency_p50_us"], ours["peak_rss_kib"]) == (90, 2048)

    def test_failed_runs_are_counted_and_not_averaged(self) -> None:
        failed = {"scenario_name": "s", "broker_name": "ours", "error": "refused"}
        (row,) = summary.compare([result("ours", 10), failed], ["s"], ["ours"], "peer")
        assert (row["repeats"], row["failed"], row["delivered_per_s"]) == (1, 1, 10)
        assert row["delivered_per_s_ratio"] is None, "the peer did not run"
        assert "FAILED s, ours: 1 runs" in summary.table([row])

    def test_only_failures_give_a_row_of_dashes(self) -> None:
        failed = {"scenario_name": "s", "broker_name": "ours", "error": "refused"}
        rows = summary.compare([failed], ["s"], ["ours"], "peer")
        assert summary.table(rows).splitlines()[1].split() == ["s", "ours", "-", "-..-", *"-------"]

    def test_a_broker_that_was_not_run_has_no_row(self) -> None:
        assert summary.compare([result("peer", 1)], ["s"], ["peer", "ours"], "peer")[1:] == []

    def test_a_full_generator_and_problems_are_shown(self) -> None:
        run = result("ours", 10, generator={"busy": 0.99}, problems=["3 messages lost"])
        text = summary.table(summary.compare([run], ["s"], ["ours"], "peer"))
        assert "10 g" in text
        assert "g: the generator's core was full" in text
        assert "PROBLEM s, ours: 3 messages lost" in text
        paced = {**run, "scenario": {"rate_per_s": 5000}}
        assert "10 g" not in summary.table(summary.compare([paced], ["s"], ["ours"], "peer"))

    def test_each_kind_has_a_table_of_its_own(self) -> None:
        held = {
            "scenario_name": "idle",
            "broker_name": "ours",
            "bytes_per_connection": 1500.0,
            "bytes_per_connection_at_once": 1600.0,
            "broker": {"busy": 0.01, "peak_rss_kib": 1024},
            "problems": [],
        }
        made = {
            "scenario_name": "connects",
            "broker_name": "ours",
            "connected_per_s": 9000.0,
            "broker": {"cpu_us_per_connection": 80.0},
            "generator": {"busy": 0.99},
            "problems": [],
        }
        rows = summary.compare([held, made], ["idle", "connects"], ["ours"], "peer")
        rows = [{**row, "kind": kind} for row, kind in zip(rows, ("hold", "connects"), strict=True)]
        text = summary.table([*rows, {**rows[0], "broker": "other", "verdict": "ok"}])
        assert "ours    1,500       1,600    1,500..1,500  1.0" in text
        assert text.index("other") < text.index("connected/s")
        assert "9,000 g" in text

    def test_no_broker_process_is_a_dash(self) -> None:
        run = {**result("ours", 10), "broker": None}
        assert summary.compare([run], ["s"], ["ours"], "peer")[0]["cpu_us_per_delivered"] is None


class TestHubRecipe:
    def test_work_dir_is_filled_in_everywhere(self) -> None:
        recipe = HubRecipe(
            command=["hub", "--data={work_dir}/d"],
            ready_url="http://h/{work_dir}",
            clients_file="{work_dir}/c",
            environment={"StorageFolder": "{work_dir}", "Other": "{x}"},
            tls_port=8883,
            ca_file="{work_dir}/ca",
        ).at(Path("/w"))
        assert recipe.command == ["hub", "--data=/w/d"]
        assert recipe.environment == {"StorageFolder": "/w", "Other": "{x}"}
        assert (recipe.ready_url, recipe.clients_file) == ("http://h//w", "/w/c")
        assert recipe.endpoints() == {"tls": Endpoint("127.0.0.1", 8883, Path("/w/ca"))}

    def test_further_environment_wins(self) -> None:
        recipe = HubRecipe(**{**vars(RECIPE), "environment": {"A": "1", "StoreSync": "x"}})
        assert recipe.with_environment({"StoreSync": "none"}).environment == {"A": "1", "StoreSync": "none"}

    def test_a_recipe_without_listener_is_refused(self) -> None:
        for ports in ({"plain_port": None}, {"plain_port": None, "tls_port": 1}):
            with pytest.raises(ValueError, match="needs"):
                HubRecipe(**{**vars(RECIPE), **ports}).endpoints()

    def test_commands_are_split_as_by_a_shell(self) -> None:
        assert split_command("hub --name 'a b'") == ["hub", "--name", "a b"]


class TestMosquitto:
    def test_configuration(self) -> None:
        text = mosquitto.config_text(
            passwords=Path("/p"), cert=Path("/c"), key=Path("/k"), plain_port=1, tls_port=2, user="me"
        )
        lines = text.splitlines()
        assert {"allow_anonymous false", "persistence false", "set_tcp_nodelay true"} <= set(lines)
        assert lines.index("listener 1 127.0.0.1") < lines.index("listener 2 127.0.0.1")
        assert lines[lines.index("listener 2 127.0.0.1") + 1 :] == ["certfile /c", "keyfile /k"]

    def test_every_client_has_its_own_password_and_a_line(self) -> None:
        clients = logins.make_clients(2, 1)
        assert len({client.password for client in clients}) == 3
        lines = [json.loads(client.line()) for client in clients]
        assert [(line["role"], line["clientId"]) for line in lines] == [
            ("pub", "pub0"),
            ("pub", "pub1"),
            ("sub", "sub0"),
        ]
        assert (lines[1]["topic"], lines[2]["filter"]) == ("bench/pub1", "bench/#")


class TestProcesses:
    def test_pinning(self) -> None:
        assert pinned(3, ["b", "-x"]) == ["taskset", "-c", "3", "b", "-x"]
        assert pinned(None, ["b"]) == ["b"]

    def test_waiting_ends_when_ready_dead_or_late(self) -> None:
        clock = iter(range(1000))
        slept: list[float] = []

        def wait(ready_after: int, exit_code: int | None) -> str | None:
            tries = iter(range(1000))
            return wait_until(
                lambda: next(tries) >= ready_after,
                lambda: exit_code,
                limit_s=5,
                now=lambda: float(next(clock)),
                sleep=slept.append,
            )

        assert wait(3, None) is None
        assert len(slept) == 3
        assert wait(99, 7) == "it ended with status 7"
        assert wait(99, None) == "it was not ready after 5 s"

    def test_a_broker_that_ends_is_reported_with_its_log(self, tmp_path: Path) -> None:
        command = [sys.executable, "-c", "raise SystemExit('no such setting')"]
        with (
            pytest.raises(StartError, match=r"ended with status 1\nno such setting"),
            broker_process(command, core=None, env={}, log=tmp_path / "log", ready=lambda: False),
        ):
            pass

    def test_a_broker_is_ended_with_the_context(self, tmp_path: Path) -> None:
        command = [sys.executable, "-c", "import signal; signal.pause()"]
        with broker_process(command, core=None, env={}, log=tmp_path / "log", ready=lambda: True) as pid:
            assert Path(f"/proc/{pid}").exists()
        assert not Path(f"/proc/{pid}").exists()


NEEDS = Needs("plain", 1, 1, None)


class TestCompare:
    def options(self, *more: str) -> argparse.Namespace:
        return options.checked_options("", ["--generator", sys.executable, *more])

    def command(self, scenario: Scenario, *more: str) -> list[str]:
        broker = RunningBroker(77, Path("/c"), {scenario.transport: Endpoint("h", 9, Path("/ca"))})
        return compare.generator_command(self.options(*more), scenario, broker, Path("/r"))

    def test_generator_command(self) -> None:
        command = self.command(Scenario("tls", 100, 20, subscribers=3, qos=0))
        assert command[:5] == ["taskset", "-c", "1", sys.executable, "run"]
        pairs = dict(itertools.pairwise(command))
        assert (pairs["--port"], pairs["--publishers"], pairs["--window"]) == ("9", "100", "20")
        assert (pairs["--subscribers"], pairs["--qos"]) == ("3", "0")
        assert (pairs["--broker-pid"], pairs["--ca-file"], pairs["--json"]) == ("77", "/ca", "/r")
        assert "--tls" in command
        assert "--rate" not in command

    def test_commands_of_the_other_kinds(self) -> None:
        paced = dict(itertools.pairwise(self.command(Scenario("plain", 1000, 10, rate_per_s=5000))))
        assert (paced["--rate"], paced["--publishers"]) == ("5000", "1000")
        held = dict(itertools.pairwise(self.command(Scenario("plain", 9000, kind=HOLD), "--quick")))
        assert (held[sys.executable], held["--connections"], held["--duration-s"]) == ("hold", "9000", "1.0")
        made = self.command(Scenario("tls", 1000, kind=CONNECTS))
        assert made[4] == "connects"
        assert made[-2:] == ["--tls", "--skip-verify"]

    def test_order_rotates(self) -> None:
        assert ["".join(compare.rotated("abc", repeat)) for repeat in range(4)] == [
            "abc",
            "bca",
            "cab",
            "abc",
        ]

    def test_scenarios(self) -> None:
        names = [scenario.name for scenario in SCENARIOS]
        assert len(names) == len(set(names)) == 17
        assert {"tls 100->1 window 20", "plain 1->100 window 20", "plain 9000 idle"} <= set(names)
        assert {"plain 1000 clients 5000/s", "plain 1->1 window 100 QoS 0", "tls connects"} <= set(names)
        assert all(scenario.bars for scenario in SCENARIOS if scenario.name != "tls 1->1 window 100 QoS 0")

    def test_only_chooses_by_any_part(self) -> None:
        chosen = options.chosen_scenarios(self.options("--only", "idle", "--only", "tls connects"))
        assert [scenario.name for scenario in chosen] == ["plain 9000 idle", "tls 9000 idle", "tls connects"]

    def test_who_takes_part_where(self) -> None:
        given = self.options("--hub-command", "hub", "--hub-clients", "c", "--hub-plain-port", "1")
        recipe = options.hub_recipe(given)
        assert recipe is not None
        none, group = compare.hub_contenders(given, recipe)
        assert (none.name, group.name) == ("edgehub none", "edgehub group")
        full, held = Scenario("plain", 1, 20), Scenario("plain", 9, kind=HOLD)
        assert none.takes_part(full)
        assert none.takes_part(held)
        assert group.takes_part(full)
        assert not group.takes_part(held)
        assert options.hub_recipe(self.options("--no-hub")) is None

    def test_other_peers_take_part_with_full_windows_of_qos_1(self) -> None:
        shapes = [
            Scenario("plain", 1, 20),
            Scenario("plain", 1, 1),
            Scenario("plain", 1, 20, qos=0),
            Scenario("plain", 1, 20, rate_per_s=5),
            Scenario("plain", 1, kind=CONNECTS),
        ]
        assert [shape.of_all_peers for shape in shapes] == [True, False, False, False, False]

    def test_verdicts_come_into_the_rows(self) -> None:
        scenario = next(one for one in SCENARIOS if one.name == "plain 1->1 window 20")
        contenders = [compare.Contender(name, lambda *_: None) for name in ("mosquitto", "edgehub none")]  # type: ignore[arg-type]
        runs = [
            {**result(name, 10, cpu), "scenario_name": scenario.name, "broker": {"delivered_per_cpu_s": per}}
            for name, cpu, per in (("mosquitto", 10.0, 100.0), ("edgehub none", 1.0, 900.0))
        ]
        rows, bars = compare.summary_of(runs, [scenario], contenders)
        assert [row["verdict"] for row in rows] == ["", "ok"]
        assert (bars[0]["median"], bars[0]["limit"]) == (9.0, "at least 8 x peer")

    def test_a_problem_of_another_peer_is_no_failure(self) -> None:
        runs = [
            {**result("mosquitto", 1), "problems": []},
            {**result("amqtt", 1), "problems": ["1 messages lost"]},
        ]
        assert not compare.wrong(runs, ["mosquitto"])
        assert compare.wrong(runs, ["mosquitto", "amqtt"])
        assert compare.wrong([], ["mosquitto"])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--repeats", "0"], "--repeats must be at least 1"),
            (["--hub-command", "hub"], "--hub-command needs --hub-clients"),
            (["--hub-command", "hub", "--hub-clients", "c"], "plain port, a TLS port, or both"),
            (["--hub-env", "novalue"], "is not NAME=VALUE"),
            (["--generator", "/nowhere"], "no generator at /nowhere"),
            (["--only", "nothing"], "no scenario has any of ['nothing']"),
            (["--peer", "nobody"], "no peer 'nobody'; there are mosquitto, rumqttd"),
        ],
    )
    def test_contradictions_are_named(
        self, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            self.options(*arguments)
        assert message in capsys.readouterr().err

    def test_one_run_with_a_fake_generator(self, tmp_path: Path) -> None:
        """The generator is a script that writes a result; the broker is a context that says where it is."""
        script = tmp_path / "generator"
        script.write_text(
            '#!/bin/sh\nfor last; do [ "$name" = --json ] && file=$last; name=$last; done\n'
            'echo \'{"delivered_per_s": 5, "problems": []}\' > "$file"\n'
        )
        script.chmod(0o755)
        given = self.options("--generator", str(script))
        given.generator_core = None
        folders: list[Path] = []

        @contextmanager
        def start(work_dir: Path, needs: Needs) -> Iterator[RunningBroker]:
            folders.append(work_dir)
            yield RunningBroker(1, Path("c"), {"plain": Endpoint("h", 1, None)})

        found = compare.run_once(given, Scenario("plain", 1, 1), start)
        assert found == {"delivered_per_s": 5, "problems": []}
        assert compare.run_once(given, Scenario("tls", 1, 1), start) is None
        assert folders[0] != folders[1]
        assert not folders[0].exists()

    def test_failures_are_results(self) -> None:
        given = self.options("--generator", "/bin/false")
        given.generator_core = None

        @contextmanager
        def start(work_dir: Path, needs: Needs) -> Iterator[RunningBroker]:
            yield RunningBroker(1, Path("c"), {"plain": Endpoint("h", 1, None)})

        @contextmanager
        def fail(work_dir: Path, needs: Needs) -> Iterator[RunningBroker]:
            raise StartError("no port")
            yield

        scenario = Scenario("plain", 1, 1)
        assert compare.run_once(given, scenario, start) == {"error": "the generator ended with status 1"}
        assert compare.run_once(given, scenario, fail) == {"error": "no port"}


def test_help_is_printed() -> None:
    shown = subprocess.run(
        [sys.executable, str(Path(compare.__file__)), "--help"], capture_output=True, text=True, check=True
    )
    assert "--hub-command" in shown.stdout
    assert "{work_dir}" in shown.stdout
