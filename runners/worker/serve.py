"""A worker's life: load, set up, then run what the agent sends until it goes."""

import os
import signal
from pathlib import Path
from time import perf_counter
from typing import Never

from .devices import placement_env
from .devices.dispatch import settled
from .devices.memory_limits import Share
from .devices.parking import Memory
from .devices.torch_modules import placed
from .frames import Broken, Ready
from .io.agent_socket import Link
from .io.inputs import Inputs
from .io.log_routing import Audience
from .io.parent_death import die_with_parent, perish
from .io.scratch_files import Home
from .io.stdio_capture import Speech
from .predictor.batch_defaults import left_out
from .predictor.loader import Predictor, Run, fault, load, loop, set_up
from .predictor.signature import Unusable
from .run import exits
from .run.interrupts import Guard
from .run.requests import Inbox
from .run.responder import Desk
from .run.sync_loop import Direct
from .run.tracebacks import told


def serve(
    folder: Path, ref: str, fd: int, log_fd: int | None, home: str | None = None, *, train: bool = False
) -> Never:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal is the agent's affair
    limits = os.environ.pop("SAMOVAR_INPUTS", "")
    share = Share(placement_env.taken(os.environ))
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
        from .run.async_loop import Looped

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
