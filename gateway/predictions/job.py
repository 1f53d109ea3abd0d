"""A prediction as the job that a runner gets."""

from msgspec import Raw

from gateway.files.store import Files
from gateway.store.predictions import Due
from schemas.jobs import Job
from schemas.prediction import Prediction


async def job_of(p: Prediction | Due, files: Files, *, attempt: int = 1) -> Job:
    """An input too large for a message is put into the file store."""
    text, key = await files.spill(p.input) if p.kind != "build" else (Raw(b"null"), None)
    return Job(
        id=p.id,
        model=p.model,
        version=p.version,
        kind=p.kind,
        input=text,
        input_key=key,
        created_at=p.created_at,
        deadline=p.deadline,
        attempt=attempt,
    )
