"""Faults of a running stack. Each function returns once the fault is injected, not once the stack has recovered."""

import random
from collections.abc import Callable
from typing import Final

import psutil

from benchmarks import processes
from benchmarks.stack import Stack

Fault = Callable[[Stack, random.Random], str]


def kill(kind: str) -> Fault:
    """Return the fault that kills one process of this kind with SIGKILL."""

    def strike(stack: Stack, rng: random.Random) -> str:
        victims = processes.find(stack, kind)
        assert victims, f"no {kind} runs"
        # The first postgres process is the parent of all others.
        victim = victims[0] if kind == "postgres" else rng.choice(victims)
        victim.kill()
        processes.wait_until_dead(victim)
        return f"pid {victim.pid}"

    return strike


def kill_up(stack: Stack, _: random.Random) -> str:
    pid = stack.up.pid
    stack.kill()
    stack.start()
    return f"pid {pid}"


def wipe_jetstream(stack: Stack, _: random.Random) -> str:
    """Kill NATS and remove its data. `up` is suspended meanwhile, as it would restart nats-server at once."""
    (nats,) = processes.find(stack, "nats")
    folder = processes.jetstream_folder(stack)
    up: psutil.Process = stack.up
    up.suspend()
    try:
        nats.kill()
        processes.wait_until_dead(nats)
        processes.delete_folder(folder)
    finally:
        up.resume()
    return f"pid {nats.pid}, {folder.relative_to(stack.data_dir)} removed"


FAULTS: Final[dict[str, Fault]] = {
    "gateway": kill("gateway"),
    "agent": kill("agent"),
    "worker": kill("worker"),
    "nats-server": kill("nats"),
    "postgres": kill("postgres"),
    "up": kill_up,
}
WIPE: Final = "jetstream wiped"


def schedule(rounds: int, rng: random.Random) -> list[tuple[str, Fault]]:
    """Return every fault once per round, in a random order for each, and one wipe somewhere."""
    faults = [fault for _ in range(rounds) for fault in rng.sample(list(FAULTS.items()), len(FAULTS))]
    faults.insert(rng.randint(1, len(faults)), (WIPE, wipe_jetstream))
    return faults
