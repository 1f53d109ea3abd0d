"""What an agent and its worker say to each other over a socket: length-prefixed msgpack, one struct a frame.

Values travel as JSON texts inside the frames, so that an agent never has to look into them.
"""

from typing import Any

from msgspec import Struct, msgpack

HEADER = 4  # bytes, big-endian: the length of the frame that follows


class Item(Struct, frozen=True, array_like=True):
    id: str
    input: bytes
    """A JSON object."""
    files: dict[str, str] = {}
    """Strings in the input that stand for files which are here already, and their paths."""
    context: dict[str, str] = {}
    """What the predictor reads as `current_scope().context`."""


class Placement(Struct, frozen=True, kw_only=True):
    """Where a worker's model may be: the agent's plan, in the environment variable `SAMOVAR_PLACEMENT`, as JSON."""

    device: str = "cpu"
    """cpu | cuda: what kind it is; a worker sees only the devices that are its own, counted from 0."""
    max_memory: dict[str, int] = {}
    """Bytes, by device, as accelerate takes them: `"0"`, `"1"`, ..., and `"cpu"`. What does not fit goes to disk."""
    threads: int = 0
    """How many a computation may use; 0: as many as it likes."""
    offload: str | None = None
    """A folder for weights that fit nowhere else."""


class Run(Struct, frozen=True, array_like=True, tag="run"):
    """Run these. One item: `predict`; more: one call of `predict_batch`. Frames queue up; they run in order.

    Up to `Ready.concurrency` runs are under way at the same time.
    """

    items: list[Item]


class Stop(Struct, frozen=True, array_like=True, tag="stop"):
    """Do not finish these. A signal (SIGUSR1) follows, so that a worker busy in user code looks up."""

    ids: list[str]


class Park(Struct, frozen=True, array_like=True, tag="park"):
    """Leave the device, or come back to it: said only while nothing runs, and answered by `Parked`."""

    parked: bool = True


class Check(Struct, frozen=True, array_like=True, tag="check"):
    """Call the predictor's `healthcheck` when nothing runs, or beside it if it is async; answered by `Health`."""


class Ready(Struct, frozen=True, array_like=True, tag="ready"):
    """`setup` is done. What the predictor declares is measured in items and milliseconds."""

    seconds: float
    max_batch_size: int
    max_batch_wait_ms: float
    log: str
    concurrency: int = 1
    """How many runs may be under way at once; more than one only with an async predictor."""
    healthcheck: bool = False
    """It has one: `Check` makes sense."""
    batch_by: dict[str, bytes] = {}
    """Inputs that have to be equal within a batch, and the JSON of what each is when it is left out; empty where it
    must be given, or has a default that JSON cannot tell: then it is equal only where it is left out as well."""
    parkable: bool = False
    """`Park` makes sense: nothing that it has on its device is out of reach, offloaded, or spread."""
    placed: dict[str, str] = {}
    """The modules that were found after `setup`, by the attribute that holds each, and where they are now."""
    device_bytes: int = 0
    """What it has taken of the device's own memory, at most so far; 0 on a CPU."""


class Broken(Struct, frozen=True, array_like=True, tag="broken"):
    """The predictor cannot be loaded or set up; the process ends."""

    stage: str
    """import | setup"""
    error: str
    log: str
    file: str | None = None
    """Of the predictor's own files, relative to its folder: the deepest place that the error passed."""
    line: int | None = None


class Parked(Struct, frozen=True, array_like=True, tag="parked"):
    """How a `Park` went."""

    parked: bool
    """Where it is now, whatever was asked."""
    seconds: float
    error: str | None = None


class Fits(Struct, frozen=True, array_like=True, tag="fits"):
    """A batch ran out of memory, and one of this size did not: nothing larger makes sense."""

    size: int


class Took(Struct, frozen=True, array_like=True, tag="took"):
    """More memory than ever before, by what is worth a word."""

    device_bytes: int
    """Of the device's own; 0 on a CPU."""
    host_bytes: int = 0
    """Resident bytes of this process, at their peak."""


class Health(Struct, frozen=True, array_like=True, tag="health"):
    error: str | None
    """None: all is well."""


class Began(Struct, frozen=True, array_like=True, tag="began"):
    """User code is about to be entered for these."""

    ids: list[str]
    at: float
    """Unix seconds."""


class Chunk(Struct, frozen=True, array_like=True, tag="chunk"):
    """One value that an iterator yielded."""

    id: str
    value: bytes
    """JSON."""
    files: list[str]
    """Paths on this host; each stands in `value` as the string `file:<path>`."""


class Said(Struct, frozen=True, array_like=True, tag="said"):
    """Something was printed while these ran."""

    ids: list[str]
    text: str


class Done(Struct, frozen=True, array_like=True, tag="done"):
    """The last frame of an item. Exactly one comes for every item of every `Run`."""

    id: str
    at: float
    """Unix seconds at which user code returned."""
    status: str
    """ok | failed | stopped | again: what was said of it counts for nothing, and it has to run by itself"""
    many: bool
    """The output was an iterator's: all of it has been said in `Chunk` frames."""
    value: bytes | None
    """JSON: the output, unless `many`."""
    files: list[str]
    error: str | None
    metrics: dict[str, Any]
    """Of one that had begun, includes `predict_time`, in seconds, and `batch_size`: how many shared its last call."""
    short: bool = False
    """It failed for want of memory: in another worker it may well be good."""


ToWorker = Run | Stop | Check | Park
FromWorker = Ready | Broken | Health | Began | Chunk | Said | Done | Parked | Fits | Took

encode = msgpack.Encoder().encode
decode_to_worker = msgpack.Decoder(ToWorker).decode
decode_from_worker = msgpack.Decoder(FromWorker).decode


def pack(frame: ToWorker | FromWorker) -> bytes:
    body = encode(frame)
    return len(body).to_bytes(HEADER, "big") + body


def split(buffer: bytearray) -> list[bytes]:
    """Take every whole frame off the front of `buffer`."""
    frames: list[bytes] = []
    start = 0
    with memoryview(buffer) as view:  # a slice of the buffer itself would be a copy more
        while len(view) - start >= HEADER:
            end = start + HEADER + int.from_bytes(view[start : start + HEADER], "big")
            if end > len(view):
                break
            frames.append(bytes(view[start + HEADER : end]))
            start = end
    if start:
        del buffer[:start]
    return frames
