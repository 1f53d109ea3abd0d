"""The whole of Samovar on one machine, in the foreground, until it is told to stop."""

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
from deploy.local.address import base_url, bindable
from deploy.local.console import say
from deploy.local.data_dir import log_of, make_data_dir, token_of
from deploy.local.keys import keys_of
from deploy.local.lock import locked
from deploy.local.log_tail import Tail, put_aside
from deploy.local.pid_file import Ledger
from deploy.local.process import adopt_orphans, children, descendants, kill
from deploy.local.supervisor import Keeper, Part, supervised

SWEEP_EVERY: Final = 5.0  # seconds
THEIRS: Final = ("nats-server", "postgres")


class Options(Struct, frozen=True, kw_only=True):
    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    models: tuple[Path, ...] = ()
    nats: str | None = None
    """`host:port` for the broker; None: loopback, and a free port."""
    gateways: int = 1
    """That share the port."""
    verbose: bool = False


class Ready(Struct, frozen=True, kw_only=True):
    """What a user has to know."""

    url: str
    token: str


async def up(options: Options, environ: Mapping[str, str], announce: Callable[[Ready], None]) -> None:
    """Runs until it is told to stop, or until a part cannot be kept alive."""
    adopt_orphans()
    with _stoppable():
        try:
            async with _stack(options, environ) as ready:
                announce(ready)
                await asyncio.Event().wait()
        except CancelledError:
            say("stopped")
        except BaseExceptionGroup as several:
            raise _cause(several) from several
        finally:
            _end_all()


@asynccontextmanager
async def _stack(options: Options, environ: Mapping[str, str]) -> AsyncGenerator[Ready]:
    """Everything: started in order, supervised, stopped in the opposite order."""
    data = make_data_dir(options.data_dir)
    with locked(data):
        ledger = Ledger(data / "children.json")
        if left := await asyncio.to_thread(ledger.end_leftovers):
            say(f"ended what an earlier run had left behind: {', '.join(left)}")
        port = bindable(options.host, options.port)
        token = token_of(data, options.token)
        keys = keys_of(data, environ)
        host, nats_port = nats.listening(options.nats) if options.nats else (nats.HOST, 0)
        await weights.convert(environ)
        for name in (*_ours(options), *THEIRS):
            put_aside(log_of(data, name))
        async with TaskGroup() as group, _followed(data, group, options), AsyncExitStack() as stack:
            keepers: list[Keeper] = []

            async def keep(*wanted: Part) -> None:
                new = [await stack.enter_async_context(supervised(part, ledger, group)) for part in wanted]
                keepers.extend(new)
                await _healthy(new)

            stack.enter_context(_swept(keepers, group))
            database = await postgres.prepare(data / "postgres", log=log_of(data, "postgres"))
            stack.callback(postgres.leave, database)
            broker = nats.prepare(data / "nats", log=log_of(data, "nats-server"), host=host, port=nats_port)
            await keep(services.database(database), services.broker(broker))
            setup = services.Setup(
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
            await keep(*services.http(setup), services.runner(setup))
            with _told():
                yield Ready(url=base_url(options.host, port), token=token)


def _ours(options: Options) -> list[str]:
    return [*services.gateways(options.gateways), "runner"]


async def _healthy(keepers: list[Keeper]) -> None:
    """Wait until all of them work; say for what when it takes long."""
    for keeper in keepers:
        try:
            async with asyncio.timeout(1.5):  # `wait_for` of Python 3.11 loses a stop that comes with its result
                await keeper.healthy.wait()
        except TimeoutError:
            say(f"waiting for {keeper.name}")
            await keeper.healthy.wait()


@contextmanager
def _told() -> Generator[None]:
    try:
        yield
    finally:
        say("stopping; press Ctrl-C once more to end everything at once")


@asynccontextmanager
async def _followed(data: Path, group: TaskGroup, options: Options) -> AsyncGenerator[None]:
    """Show what the children log, the last of it included."""
    names = (*_ours(options), *THEIRS) if options.verbose else _ours(options)
    tails = [Tail(name, log_of(data, name), verbose=options.verbose) for name in names]
    tasks = [group.create_task(tail.follow()) for tail in tails]
    try:
        yield
    finally:
        for task, tail in zip(tasks, tails, strict=True):
            task.cancel()
            tail.show()


@contextmanager
def _swept(keepers: list[Keeper], group: TaskGroup) -> Generator[None]:
    task = group.create_task(_sweep(keepers))
    try:
        yield
    finally:
        task.cancel()


async def _sweep(keepers: list[Keeper]) -> None:
    """End and bury the orphans that fell to us when a child died."""
    seen: set[int] = set()
    while True:
        await asyncio.sleep(SWEEP_EVERY)
        orphans = children() - {keeper.pid for keeper in keepers}
        # One that was started a moment ago is not known yet: only what stays unknown is an orphan.
        for pid in orphans & seen:
            _bury(pid)
        seen = orphans


def _bury(orphan: int) -> None:
    with suppress(psutil.Error):
        kill([psutil.Process(orphan)])
    with suppress(ChildProcessError):
        os.waitpid(orphan, os.WNOHANG)


@contextmanager
def _stoppable() -> Generator[None]:
    """The first signal to stop cancels the task that we are in; another one kills all that is left to wait for."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    asked = False

    def stop() -> None:
        nonlocal asked
        if asked:
            kill(descendants(os.getpid()))
        asked = True
        task.cancel()

    signals = [s for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) != signal.SIG_IGN]
    for each in signals:
        loop.add_signal_handler(each, stop)
    try:
        yield
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


def _end_all() -> None:
    left = descendants(os.getpid())
    kill(left)
    psutil.wait_procs(left, timeout=5)


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a user should read of several errors: what we know how to put, if it is among them."""
    leaves = list(_leaves(group))
    return next((leaf for leaf in leaves if isinstance(leaf, DeployError)), leaves[0])


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(part)
    else:
        yield error
