"""Frames between an agent and its worker: length-prefixed msgpack over a socket, one struct a frame.

Values travel as JSON texts inside the frames, so that an agent never has to look into them.
"""

from typing import Any

from msgspec import Struct, msgpack

HEADER_BYTES = 4  # big-endian: the length of the frame that follows


class Item(Struct, frozen=True, array_like=True):
    """A job as a worker sees it: an input to run, and the id to answer it by."""

    id: str
    input: bytes
    """A JSON object."""
    files: dict[str, str] = {}
    """Strings in the input that stand for files which are on this host already, and their paths."""
    context: dict[str, str] = {}
    """What the predictor reads as `current_scope().context`."""


class Placement(Struct, frozen=True, kw_only=True):
    """The agent's plan for a worker's model, passed as JSON in the environment variable `SAMOVAR_PLACEMENT`."""

    device: str = "cpu"
    """The kind of device, cpu or cuda. A worker sees only the devices that are its own, counted from 0."""
    max_memory: dict[str, int] = {}
    """The limits in bytes, by device as accelerate names it: `"0"`, `"1"`, ..., and `"cpu"`. The rest goes to disk."""
    threads: int = 0
    """How many threads a computation may use; 0 means as many as it likes."""
    offload: str | None = None
    """A folder for weights that fit nowhere else."""


class Run(Struct, frozen=True, array_like=True, tag="run"):
    """Run these items: one by `predict`, more by one call of `predict_batch`. Frames queue up and run in order.

    Up to `Ready.concurrency` of these frames run at the same time.
    """

    items: list[Item]


class Stop(Struct, frozen=True, array_like=True, tag="stop"):
    """Stop these items, or never start them. A signal (SIGUSR1) follows, to interrupt a worker busy in user code."""

    ids: list[str]


class Park(Struct, frozen=True, array_like=True, tag="park"):
    """Leave the device, or come back to it. Sent only while nothing runs, and answered by `Parked`."""

    parked: bool = True


class Check(Struct, frozen=True, array_like=True, tag="check"):
    """Call the predictor's `healthcheck`: between jobs, or beside them if it is async. Answered by `Health`."""


class Ready(Struct, frozen=True, array_like=True, tag="ready"):
    """The predictor is set up. The frame holds what it declares, and how set-up went."""

    seconds: float
    """How long import and set-up took."""
    max_batch_size: int
    max_batch_wait_ms: float
    log: str
    """The end of what was printed until then."""
    concurrency: int = 1
    """How many `Run` frames may be under way at once; more than one only with an async predictor."""
    healthcheck: bool = False
    """Whether it has a `healthcheck`, so that `Check` makes sense."""
    batch_by: dict[str, bytes] = {}
    """Inputs that have to be equal within a batch, and the JSON of each one's default.

    It is empty where the input is required or its default has no JSON: then inputs are equal only if both lack it.
    """
    parkable: bool = False
    """Whether `Park` makes sense: nothing that it has on its device is out of reach, offloaded, or spread."""
    placed: dict[str, str] = {}
    """The devices of the modules that exist after set-up, by the attribute that holds each."""
    device_bytes: int = 0
    """The peak of the device's own memory so far; 0 on a CPU."""


class LoadFailed(Struct, frozen=True, array_like=True, tag="broken"):
    """The predictor cannot be loaded or set up; the process ends."""

    stage: str
    """What failed: `import` or `setup`."""
    error: str
    log: str
    file: str | None = None
    """The deepest of the predictor's own files that the error passed, relative to its folder."""
    line: int | None = None


class Parked(Struct, frozen=True, array_like=True, tag="parked"):
    """The answer to a `Park`."""

    parked: bool
    """Whether the model is parked now, whatever was asked."""
    seconds: float
    error: str | None = None


class BatchLimit(Struct, frozen=True, array_like=True, tag="fits"):
    """The largest batch that makes sense: a larger one ran out of memory, and one of this size did not."""

    size: int


class MemoryPeak(Struct, frozen=True, array_like=True, tag="took"):
    """The most memory that the worker has had so far, sent when it has grown noticeably."""

    device_bytes: int
    """The device's own memory; 0 on a CPU."""
    host_bytes: int = 0
    """The peak of this process's resident memory."""


class Health(Struct, frozen=True, array_like=True, tag="health"):
    """The result of a `Check`."""

    error: str | None
    """Why the predictor is unwell, or None if all is well."""


class ItemsStarted(Struct, frozen=True, array_like=True, tag="began"):
    """User code is about to run for these items."""

    ids: list[str]
    at: float
    """When, in Unix seconds."""


class Chunk(Struct, frozen=True, array_like=True, tag="chunk"):
    """A value that an iterator yielded."""

    id: str
    value: bytes
    """The value as JSON."""
    files: list[str]
    """Paths on this host. Each stands in `value` as the string `file:<path>`."""


class LogText(Struct, frozen=True, array_like=True, tag="said"):
    """Text that was printed while these items ran; without ids, during set-up."""

    ids: list[str]
    text: str


class Done(Struct, frozen=True, array_like=True, tag="done"):
    """The last frame of an item. Exactly one comes for every item of every `Run`."""

    id: str
    at: float
    """When user code returned, in Unix seconds."""
    status: str
    """ok, failed, stopped, or again: then its chunks count for nothing, and it has to run by itself."""
    many: bool
    """Whether the output was an iterator's: then all of it was sent in `Chunk` frames."""
    value: bytes | None
    """The output as JSON, unless `many`."""
    files: list[str]
    error: str | None
    metrics: dict[str, Any]
    """Recorded metrics. After a start also `predict_time` in seconds and `batch_size`, that of its last call."""
    short: bool = False
    """Whether it failed because memory ran out: in another worker it may well succeed."""


ToWorker = Run | Stop | Check | Park
FromWorker = Ready | LoadFailed | Health | ItemsStarted | Chunk | LogText | Done | Parked | BatchLimit | MemoryPeak

encode = msgpack.Encoder().encode
decode_to_worker = msgpack.Decoder(ToWorker).decode
decode_from_worker = msgpack.Decoder(FromWorker).decode


def encode_frame(frame: ToWorker | FromWorker) -> bytes:
    """Return the frame as bytes, with its length in front."""
    body = encode(frame)
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def take_frames(buffer: bytearray) -> list[bytes]:
    """Take every whole frame off the front of `buffer` and return their bodies."""
    frames: list[bytes] = []
    start = 0
    with memoryview(buffer) as view:  # a slice of the buffer itself would be a copy more
        while len(view) - start >= HEADER_BYTES:
            end = start + HEADER_BYTES + int.from_bytes(view[start : start + HEADER_BYTES], "big")
            if end > len(view):
                break
            frames.append(bytes(view[start + HEADER_BYTES : end]))
            start = end
    if start:
        del buffer[:start]
    return frames
