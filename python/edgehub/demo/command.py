"""The command: arguments, signals, and one clear line for everything that goes wrong."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from edgehub.demo.errors import DemoError, MissingPackageError
from edgehub.demo.options import Options, parse_options

if TYPE_CHECKING:
    from rich.console import Console

    from edgehub.demo.screen import Screen
    from edgehub.demo.stack import Stack

SANDBOX: Final = "sandbox"
"""A device without a process, for whoever wants to connect something of their own with `--keep`."""
EXIT_BY_SIGNAL: Final = 128


def run(argv: list[str] | None) -> int:
    """See `edgehub.demo.main`."""
    try:
        options = parse_options(argv)
        _preflight()
        return asyncio.run(_supervise(options))
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except KeyboardInterrupt:
        return EXIT_BY_SIGNAL + signal.SIGINT
    except BrokenPipeError:
        # Whoever read the output has gone; what is left in its buffer must not fail at exit again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except DemoError as error:
        sys.stderr.write(f"edgehub demo: {error}\n")
        return 1


def _preflight() -> None:
    """Looks for everything that must be there, before anything is started.

    :raises DemoError: names the first thing that is missing.
    """
    from edgehub.demo.readings import SENSORS, read_sensor  # noqa: PLC0415 - `--help` needs none of it
    from edgehub.demo.sending import SDK_DISTRIBUTION  # noqa: PLC0415

    if not sys.platform.startswith("linux"):
        raise DemoError("the demo needs Linux: it gives every server a loopback address of its own")
    if not _installed("azure.iot.device"):
        raise MissingPackageError(SDK_DISTRIBUTION)
    if not _installed("edgehub._core"):
        raise DemoError("the hub's extension edgehub._core is not built; in a checkout: make setup")
    for sensor in SENSORS:
        read_sensor(sensor)


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


class _Signals:
    """The first signal ends the demo in order, a second one kills what is still there."""

    def __init__(self, task: asyncio.Task[int], stack: Stack, screen: Screen) -> None:
        self.received: signal.Signals | None = None
        self._task = task
        self._stack = stack
        self._screen = screen

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if self.received is not None:
            self._stack.kill_all()
            return
        self.received = number
        self._screen.step("stopping (once more to kill)")
        self._task.cancel()


async def _supervise(options: Options) -> int:
    from rich.console import Console  # noqa: PLC0415 - see `_preflight`

    from edgehub.demo.scenario import DEVICES, ROUTES  # noqa: PLC0415
    from edgehub.demo.stack import Stack  # noqa: PLC0415
    from edgehub.demo.topology import StackOptions  # noqa: PLC0415

    console = Console(stderr=options.json, highlight=False)
    screen = _screen(console)
    folder = options.data_dir
    if folder is not None:
        folder = folder.absolute()
        _make_folder(options)
    stack = Stack(
        StackOptions(
            folder=folder,
            routes=ROUTES,
            devices=(*DEVICES, SANDBOX) if options.keep else DEVICES,
            modules=("filter",),
            step=screen.step,
        )
    )
    task = asyncio.create_task(_demo(options, stack, screen, console))
    signals = _Signals(task, stack, screen)
    signals.listen()
    try:
        return await task
    except asyncio.CancelledError:
        if signals.received is None:
            raise
        return EXIT_BY_SIGNAL + signals.received


async def _demo(options: Options, stack: Stack, screen: Screen, console: Console) -> int:
    from edgehub.demo.report import print_report  # noqa: PLC0415 - see `_preflight`
    from edgehub.demo.scenario import Scenario  # noqa: PLC0415

    async with stack:
        with screen:
            scenario = Scenario(options, stack, screen)
            try:
                outcome = await scenario.run()
            except ExceptionGroup as group:
                raise _first_demo_error(group) from None
        print_report(console, outcome)
        if options.json:
            sys.stdout.write(json.dumps(outcome.as_dict(), indent=2) + "\n")
            sys.stdout.flush()
        if options.keep:
            await scenario.start_again()
            _tell_addresses(console, stack)
            await stack.fault()
    return outcome.exit_code


def _screen(console: Console) -> Screen:
    from edgehub.demo.screen import LiveScreen, PlainScreen  # noqa: PLC0415 - see `_preflight`

    # Not `console.is_terminal`: FORCE_COLOR makes that true for a file as well.
    if console.file.isatty() and not console.is_dumb_terminal:
        return LiveScreen(console)
    return PlainScreen(console)


def _make_folder(options: Options) -> None:
    assert options.data_dir is not None
    try:
        options.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(f"--data-dir {options.data_dir}: {error.strerror}") from None


def _tell_addresses(console: Console, stack: Stack) -> None:
    """What `--keep` leaves running, and how to reach it."""
    lines = [
        "",
        "Everything runs on until Ctrl-C:",
        f"  hub metrics       {stack.hub_url}/metrics",
        f"  hub MQTT          {stack.places.hub_host}:{stack.places.mqtt_port} (TLS)",
        f"  iothub REST       {stack.iothub_url}",
        f"  trusted authority {stack.authority.file}",
        f"  data and logs     {stack.folder}",
        f"  iothub owner      {stack.owner_connection_string}",
        f"  a device for you  {stack.connection_string(SANDBOX)}",
    ]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _first_demo_error(group: ExceptionGroup[Exception]) -> Exception:
    """The first error that has a line for users; without one, a defect of the demo shows as it is."""
    ours, _ = group.split(DemoError)
    error: Exception = ours if ours is not None else group
    while ours is not None and isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
