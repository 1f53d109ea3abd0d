"""The messages by which a gateway has a runner run a prediction, or cancel it."""

from datetime import datetime
from typing import Literal

from msgspec import Raw, Struct, json


class Job(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A prediction to run. Its JSON text is the message that waits in the queue."""

    id: str
    model: str
    version: str
    kind: Literal["predict", "train", "introspect", "build"] = "predict"
    """build: make the environment of a pushed version, introspect it, set it up once; the output is a
    `models.BuildResult`. train: run the version's `train`; the output is a `models.TrainingResult`."""
    input: Raw = Raw(b"null")
    """null if it is in the file store. Secrets are sealed and our own files are keys: see `schemas.inputs`."""
    input_key: str | None = None
    """Key of the input in the file store, if it is too large for a message."""
    created_at: datetime
    deadline: datetime | None = None
    attempt: int = 1
    """The number of times that the job has been published, this time included."""
    crashes: int = 0
    """The number of workers that died of this job."""
    reason: str | None = None
    """How the last of these workers died."""


class Cancel(Struct, frozen=True, kw_only=True):
    """A request to every agent to stop a prediction. The one that has its job answers with the final event."""

    id: str
    reason: str | None = None


decode_job = json.Decoder(Job).decode
decode_cancel = json.Decoder(Cancel).decode
