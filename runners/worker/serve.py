"""A worker's life: load, set up, then run what the agent sends until it goes."""

import faulthandler
import os
import signal
from pathlib import Path
from time import perf_counter
from typing import NoReturn

from .audience import Audience
from .desk import Desk
from .direct import Direct
from .frames import Broken, Ready
from .guard import Guard
from .inbox import Inbox
from .lifeline import die_with_parent, perish
from .link import Link
from .predictor import Predictor, Run, fault, load, set_up
from .speech import Speech


def serve(folder: Path, ref: str, fd: int, log_fd: int | None) -> NoReturn:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal is the agent's affair
    faulthandler.enable(2)
    link = Link(fd)
    audience = Audience(link)
    guard = Guard()
    guard.listen(lambda: False)
    speech = Speech(log_fd, audience.hear, guard)
    speech.install(lost=perish, watch=link.fileno(), forked=link.close_in_child)
    predictor, run = _made_ready(folder, ref, link, audience, speech)
    inbox = Inbox(link)
    desk = Desk(predictor, inbox, link, audience, speech)
    if run is not None and predictor.is_async:
        from .looped import Looped

        run(Looped(predictor, inbox, desk, guard).work(link.fileno()))
    Direct(predictor, inbox, desk, guard).work()


def _made_ready(folder: Path, ref: str, link: Link, audience: Audience, speech: Speech) -> tuple[Predictor, Run | None]:
    began = perf_counter()
    stage = "import"
    try:
        predictor = load(folder, ref)
        run = _loop() if predictor.needs_loop else None
        stage = "setup"
        set_up(predictor, run)
    except BaseException as error:  # noqa: BLE001  sys.exit in user code is a fault of set-up too
        speech.finish()
        link.send(Broken(stage, str(fault(error, folder)), audience.kept()))
        os._exit(1)  # threads that user code began may not hold us up
    speech.finish()
    seconds = perf_counter() - began
    link.send(Ready(seconds, predictor.max_batch_size, predictor.max_batch_wait_ms, audience.kept()))
    audience.now(())
    return predictor, run


def _loop() -> Run:
    # Half of a worker's start, had all to import it.
    import asyncio

    return asyncio.Runner().run
