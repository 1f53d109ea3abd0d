"""Serving one predictor: load it, set it up, then run what the agent sends until the agent is gone."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Never, NoReturn

from msgspec import Struct

from .devices.dispatch import place_modules
from .devices.memory_limits import MemoryLimits
from .devices.parking import ModelMemory
from .devices.placement_env import take_placement
from .devices.torch_modules import describe_modules
from .errors import UnusablePredictor
from .frames import LoadFailed, Ready
from .io.agent_socket import AgentSocket
from .io.inputs import InputReader
from .io.log_routing import LogRouter
from .io.parent_death import die_with_parent, kill_own_group
from .io.scratch_files import ScratchFolder
from .io.stdio_capture import StdioCapture
from .predictor.batch_defaults import batch_defaults
from .predictor.loader import Predictor, RunCoroutine, load, locate_fault, new_event_loop, set_up
from .run.exits import report_exits
from .run.interrupts import Interrupts
from .run.requests import RequestQueue
from .run.responder import Responder
from .run.sync_loop import SyncLoop
from .run.tracebacks import format_error


class _Channels(Struct):
    """Where a worker's frames and logs go."""

    agent: AgentSocket
    logs: LogRouter
    capture: StdioCapture


class _Loaded(Struct):
    """A predictor that is set up, and what was learned while it was."""

    predictor: Predictor
    run_coroutine: RunCoroutine | None
    memory: ModelMemory
    modules: dict[str, str]
    device_bytes: int


def serve(
    folder: Path, ref: str, fd: int, log_fd: int | None, home: str | None = None, *, train: bool = False
) -> Never:
    """Run a worker in this process. `fd` is its socket to the agent, `log_fd` the pipe of its own output."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal is the agent's affair
    input_limits = os.environ.pop("SAMOVAR_INPUTS", "")
    limits = MemoryLimits(take_placement(os.environ))
    limits.install()
    interrupts = Interrupts()
    interrupts.install(lambda: False)
    channels = _open_channels(fd, log_fd, interrupts)
    loaded = _load(folder, ref, train, limits, channels)
    _run(loaded, channels, interrupts, input_limits, home)


def _open_channels(fd: int, log_fd: int | None, interrupts: Interrupts) -> _Channels:
    agent = AgentSocket(fd)
    logs = LogRouter(agent)
    capture = StdioCapture(log_fd, logs.route, interrupts)
    capture.install(on_disconnect=kill_own_group, watch=agent.fileno(), after_fork=agent.close_in_child)
    return _Channels(agent, logs, capture)


def _load(folder: Path, ref: str, train: bool, limits: MemoryLimits, channels: _Channels) -> _Loaded:
    """Load and set up the predictor, and report how that went. The process ends if it fails."""
    started = perf_counter()
    stage = "import"

    def report_failure(message: str, file: str | None, line: int | None) -> None:
        channels.capture.flush_all()
        place = f"{file}:{line}: " if file else ""
        channels.agent.send(LoadFailed(stage, f"{place}{message}", channels.logs.setup_log(), file, line))

    try:
        with report_exits(folder, report_failure):
            predictor = load(folder, ref, train=train)
            run_coroutine = new_event_loop() if predictor.needs_loop else None
            stage = "setup"
            set_up(predictor, run_coroutine)
            loaded = _place(predictor, run_coroutine, train, limits, channels)
    except BaseException as error:  # noqa: BLE001  sys.exit in user code is a fault of set-up too
        _end_after(error, folder, channels, report_failure)
    channels.capture.flush_all()
    _report_ready(loaded, perf_counter() - started, channels)
    return loaded


def _place(
    predictor: Predictor, run_coroutine: RunCoroutine | None, train: bool, limits: MemoryLimits, channels: _Channels
) -> _Loaded:
    # What is trained is not ours to move.
    owner = None if train else getattr(predictor.predict, "__self__", None)
    memory = ModelMemory(place_modules(owner, limits, channels.logs.route), channels.agent)
    return _Loaded(predictor, run_coroutine, memory, describe_modules(owner), memory.measure_device_peak())


def _end_after(
    error: BaseException,
    folder: Path,
    channels: _Channels,
    report_failure: Callable[[str, str | None, int | None], None],
) -> NoReturn:
    fault = locate_fault(error, folder)
    channels.capture.flush_all()
    if not isinstance(error, UnusablePredictor):
        channels.logs.route(format_error(error))
    report_failure(fault.message, fault.file, fault.line)
    os._exit(1)  # threads that user code began may not hold us up


def _report_ready(loaded: _Loaded, seconds: float, channels: _Channels) -> None:
    predictor = loaded.predictor
    channels.agent.send(
        Ready(
            seconds,
            predictor.max_batch_size,
            predictor.max_batch_wait_ms,
            channels.logs.setup_log(),
            predictor.concurrency,
            predictor.healthcheck is not None,
            batch_defaults(predictor),
            parkable=loaded.memory.is_parkable(),
            placed=loaded.modules,
            device_bytes=loaded.device_bytes,
        )
    )
    channels.logs.end_setup()


def _run(loaded: _Loaded, channels: _Channels, interrupts: Interrupts, input_limits: str, home: str | None) -> Never:
    predictor, memory = loaded.predictor, loaded.memory
    requests = RequestQueue(channels.agent)
    inputs = InputReader(predictor.signature.parameters, input_limits)
    folder = ScratchFolder(home)
    responder = Responder(predictor, inputs, requests, channels.agent, channels.logs, channels.capture, folder)
    if loaded.run_coroutine is not None and predictor.is_async:
        from .run.async_loop import AsyncLoop

        loop = AsyncLoop(predictor, requests, responder, interrupts, memory)
        loaded.run_coroutine(loop.run(channels.agent.fileno()))
    SyncLoop(predictor, requests, responder, interrupts, memory, loaded.run_coroutine).run()
