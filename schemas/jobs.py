"""What a gateway asks of a runner."""

from datetime import datetime
from typing import Literal

from msgspec import Raw, Struct, json


class Job(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One prediction to run; its text is what waits in the queue."""

    id: str
    model: str
    version: str
    kind: Literal["predict", "train", "introspect", "build"] = "predict"
    """build: make the environment of a pushed version, ask it what it takes, set it up once; answers `models.Built`.
    train: run the version's `train`; answers `models.Trained`."""
    input: Raw = Raw(b"null")
    """null: it is in the file store. Secrets are sealed and our own files are keys: see `schemas.inputs`."""
    input_key: str | None = None
    """Where in the file store the input is, when it is too large for a message."""
    created_at: datetime
    deadline: datetime | None = None
    attempt: int = 1
    """Each publishing of a job counts one up."""
    crashes: int = 0
    """Workers that died of this job."""
    reason: str | None = None
    """How the last of them died."""


class Cancel(Struct, frozen=True, kw_only=True):
    """Stop this prediction, wherever it is. Said to every agent; the one that has it answers with its final event."""

    id: str
    reason: str | None = None


decode_job = json.Decoder(Job).decode
decode_cancel = json.Decoder(Cancel).decode
