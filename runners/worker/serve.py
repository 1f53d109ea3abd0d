"""A worker's life: load, set up, then run what the agent sends until it goes."""

import os
import signal
from pathlib import Path
from time import perf_counter
from typing import Never

from . import exits, plan
from .audience import Audience
from .desk import Desk
from .direct import Direct
from .frames import Broken, Ready
from .groups import left_out
from .guard import Guard
from .inbox import Inbox
from .inputs import Inputs
from .lifeline import die_with_parent, perish
from .link import Link
from .memory import Memory
from .modules import placed
from .placing import settled
from .predictor import Predictor, Run, fault, load, set_up
from .share import Share
from .signature import Unusable
from .speech import Speech
from .temporaries import Home
from .traces import told


def serve(
    folder: Path, ref: str, fd: int, log_fd: int | None, home: str | None = None, *, train: bool = False
) -> Never:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal is the agent's affair
    limits = os.environ.pop("SAMOVAR_INPUTS", "")
    share = Share(plan.taken(os.environ))
    share.impose()
    link = Link(fd)
    audience = Audience(link)
    guard = Guard()
    guard.listen(lambda: False)
    speech = Speech(log_fd, audience.hear, guard)
    speech.install(lost=perish, watch=link.fileno(), forked=link.close_in_child)
    predictor, run, memory = _made_ready(folder, ref, train, share, link, audience, speech)
    inbox = Inbox(link)
    desk = Desk(predictor, Inputs(predictor.signature, limits), inbox, link, audience, speech, Home(home))
    if run is not None and predictor.is_async:
        from .looped import Looped

        run(Looped(predictor, inbox, desk, guard, memory).work(link.fileno()))
    Direct(predictor, inbox, desk, guard, memory, run).work()


def _made_ready(
    folder: Path, ref: str, train: bool, share: Share, link: Link, audience: Audience, speech: Speech
) -> tuple[Predictor, Run | None, Memory]:
    began = perf_counter()
    stage = "import"

    def broken(message: str, file: str | None, line: int | None) -> None:
        speech.finish()
        place = f"{file}:{line}: " if file else ""
        link.send(Broken(stage, f"{place}{message}", audience.kept(), file, line))

    try:
        with exits.told(folder, broken):
            predictor = load(folder, ref, train=train)
            run = loop() if predictor.needs_loop else None
            stage = "setup"
            set_up(predictor, run)
            # What is trained is not ours to move.
            owner = None if train else getattr(predictor.predict, "__self__", None)
            memory = Memory(settled(owner, share, audience.hear), link)
            where, most = placed(owner), memory.peak()
    except BaseException as error:  # noqa: BLE001  sys.exit in user code is a fault of set-up too
        found = fault(error, folder)
        speech.finish()
        if not isinstance(error, Unusable):
            audience.hear(told(error))
        broken(found.message, found.file, found.line)
        os._exit(1)  # threads that user code began may not hold us up
    speech.finish()
    seconds = perf_counter() - began
    link.send(
        Ready(
            seconds,
            predictor.max_batch_size,
            predictor.max_batch_wait_ms,
            audience.kept(),
            predictor.concurrency,
            predictor.healthcheck is not None,
            left_out(predictor),
            parkable=memory.parkable(),
            placed=where,
            device_bytes=most,
        )
    )
    audience.begin()
    return predictor, run, memory


def loop() -> Run:
    # Half of a worker's start, had all to import it.
    import asyncio

    return asyncio.Runner().run
