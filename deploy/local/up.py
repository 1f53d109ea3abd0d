"""The whole of Samovar on one machine, in the foreground, until a signal stops it."""

import asyncio
import os
import signal
from asyncio import CancelledError, TaskGroup
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, cast

import psutil
from msgspec import Struct

from deploy.errors import DeployError
from deploy.local import nats, postgres, services, weights
from deploy.local.address import base_url, check_port
from deploy.local.console import print_message
from deploy.local.data_dir import create_data_dir, load_token, log_path
from deploy.local.keys import load_keys
from deploy.local.lock import lock_data_dir
from deploy.local.log_tail import LogTail, rotate_log
from deploy.local.nats import NatsServer
from deploy.local.pid_file import PidFile
from deploy.local.postgres import PostgresServer
from deploy.local.process import adopt_orphans, child_pids, descendants, kill
from deploy.local.supervisor import Service, ServiceSupervisor, supervise

REAP_SECONDS: Final = 5.0
SERVER_NAMES: Final = ("nats-server", "postgres")


class UpOptions(Struct, frozen=True, kw_only=True):
    """The options of `samovar up`."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    models: tuple[Path, ...] = ()
    nats: str | None = None
    """`host:port` for the broker to listen on; None: loopback, and a free port."""
    gateways: int = 1
    """How many share the port."""
    verbose: bool = False


async def run_stack(options: UpOptions, environ: Mapping[str, str], announce: Callable[[str, str], None]) -> None:
    """Run everything until a signal stops it. Raises `DeployError` when a service cannot be kept alive.

    `announce` is called with the URL and the token once everything is ready.
    """
    adopt_orphans()
    with _handle_stop_signals():
        try:
            async with _start_stack(options, environ) as (url, token):
                announce(url, token)
                await asyncio.Event().wait()
        except CancelledError:
            print_message("stopped")
        except BaseExceptionGroup as group:
            raise _most_useful_error(group) from group
        finally:
            _kill_remaining()


@asynccontextmanager
async def _start_stack(options: UpOptions, environ: Mapping[str, str]) -> AsyncGenerator[tuple[str, str]]:
    """Start everything in order, yield the URL and the token, and stop it in the opposite order."""
    data = create_data_dir(options.data_dir)
    with lock_data_dir(data):
        pid_file = PidFile(data / "children.json")
        await _end_leftovers(pid_file)
        port = check_port(options.host, options.port)
        token = load_token(data, options.token)
        keys = load_keys(data, environ)
        nats_host, nats_port = nats.parse_listen_address(options.nats) if options.nats else (nats.LOOPBACK, 0)
        await weights.convert_weights(environ)
        for name in (*_own_names(options), *SERVER_NAMES):
            rotate_log(log_path(data, name))
        async with TaskGroup() as group, _print_logs(data, group, options), AsyncExitStack() as exits:
            running = _RunningServices(pid_file, group, exits)
            exits.enter_context(_reap_orphans(running, group))
            database, broker = await _start_servers(running, data, nats_host, nats_port, exits)
            settings = services.StackSettings(
                data=data,
                environ=environ,
                host=options.host,
                port=port,
                gateways=options.gateways,
                token=token,
                models=options.models,
                database_url=database.url,
                nats_urls=broker.urls,
                keys=keys,
            )
            await running.start(*services.gateway_services(settings), services.runner_service(settings))
            with _announce_stop():
                yield base_url(options.host, port), token


class _RunningServices:
    """The supervised services of one stack, in the order in which they started."""

    def __init__(self, pid_file: PidFile, group: TaskGroup, exits: AsyncExitStack) -> None:
        self._pid_file = pid_file
        self._group = group
        self._exits = exits
        self._supervisors: list[ServiceSupervisor] = []

    async def start(self, *new: Service) -> None:
        """Start services and wait until all of them are healthy. They stop when the exit stack closes."""
        supervisors = [
            await self._exits.enter_async_context(supervise(service, self._pid_file, self._group)) for service in new
        ]
        self._supervisors.extend(supervisors)
        await _wait_until_healthy(supervisors)

    def pids(self) -> set[int | None]:
        """Return the pids of the present processes."""
        return {supervisor.pid for supervisor in self._supervisors}


async def _end_leftovers(pid_file: PidFile) -> None:
    if names := await asyncio.to_thread(pid_file.end_leftovers):
        print_message(f"ended what an earlier run had left behind: {', '.join(names)}")


async def _start_servers(
    running: _RunningServices, data: Path, nats_host: str, nats_port: int, exits: AsyncExitStack
) -> tuple[PostgresServer, NatsServer]:
    database = await postgres.prepare(data / "postgres", log=log_path(data, "postgres"))
    exits.callback(postgres.remove_socket_folder, database)
    broker = nats.prepare(data / "nats", log=log_path(data, "nats-server"), host=nats_host, port=nats_port)
    await running.start(services.database_service(database), services.broker_service(broker))
    return database, broker


def _own_names(options: UpOptions) -> list[str]:
    return [*services.gateway_names(options.gateways), "runner"]


async def _wait_until_healthy(supervisors: list[ServiceSupervisor]) -> None:
    """Wait until all of them are healthy, and name the one that takes long."""
    for supervisor in supervisors:
        try:
            async with asyncio.timeout(
                1.5
            ):  # `wait_for` of Python 3.11 loses a cancellation that comes with its result
                await supervisor.healthy.wait()
        except TimeoutError:
            print_message(f"waiting for {supervisor.name}")
            await supervisor.healthy.wait()


@contextmanager
def _announce_stop() -> Generator[None]:
    try:
        yield
    finally:
        print_message("stopping; press Ctrl-C once more to end everything at once")


@asynccontextmanager
async def _print_logs(data: Path, group: TaskGroup, options: UpOptions) -> AsyncGenerator[None]:
    """Print what the services log, up to their last lines."""
    names = (*_own_names(options), *SERVER_NAMES) if options.verbose else _own_names(options)
    tails = [LogTail(name, log_path(data, name), verbose=options.verbose) for name in names]
    tasks = [group.create_task(tail.follow()) for tail in tails]
    try:
        yield
    finally:
        for task, tail in zip(tasks, tails, strict=True):
            task.cancel()
            tail.print_new_lines()


@contextmanager
def _reap_orphans(running: _RunningServices, group: TaskGroup) -> Generator[None]:
    task = group.create_task(_reap_forever(running))
    try:
        yield
    finally:
        task.cancel()


async def _reap_forever(running: _RunningServices) -> None:
    """Kill and reap the orphans that we adopted when a child died."""
    seen: set[int] = set()
    while True:
        await asyncio.sleep(REAP_SECONDS)
        orphans = child_pids() - running.pids()
        # A process that has just started may not be known yet: only one that stays unknown is an orphan.
        for pid in orphans & seen:
            _reap(pid)
        seen = orphans


def _reap(orphan: int) -> None:
    with suppress(psutil.Error):
        kill([psutil.Process(orphan)])
    with suppress(ChildProcessError):
        os.waitpid(orphan, os.WNOHANG)


@contextmanager
def _handle_stop_signals() -> Generator[None]:
    """Cancel the current task on the first signal to stop, and kill all child processes on the next one."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        if is_stopping:
            kill(descendants(os.getpid()))
        is_stopping = True
        task.cancel()

    signals = [s for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) != signal.SIG_IGN]
    for each in signals:
        loop.add_signal_handler(each, stop)
    try:
        yield
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


def _kill_remaining() -> None:
    remaining = descendants(os.getpid())
    kill(remaining)
    psutil.wait_procs(remaining, timeout=5)


def _most_useful_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that helps a user most: one of ours, if it is among them."""
    leaves = list(_leaves(group))
    return next((leaf for leaf in leaves if isinstance(leaf, DeployError)), leaves[0])


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error
