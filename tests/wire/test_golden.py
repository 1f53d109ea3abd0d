"""A golden file per message: a change of the wire shows in review."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import Raw, Struct, json

from schemas import changes, events, inputs, jobs, models
from schemas.events import Run
from schemas.prediction import Status

AT = datetime(2026, 1, 5, 9, 0, 0, 125_000, tzinfo=UTC)
ID = "k3v7zq1b5drm80cs2n9gt4w6xa"
RUN = Run(2, 1_767_603_600_125, "host-1")
HERE = Path(__file__).parent / "golden"

MESSAGES: dict[str, Struct] = {
    "job": jobs.Job(
        id=ID,
        model="acme/echo",
        version="a" * 64,
        input=Raw(b'{"text":"hi"}'),
        created_at=AT,
        deadline=AT,
        attempt=2,
        crashes=1,
        reason="killed",
    ),
    "job_of_a_large_input": jobs.Job(
        id=ID, model="acme/echo", version="a" * 64, input_key="in/" + "b" * 64, created_at=AT
    ),
    "job_of_a_training": jobs.Job(
        id=ID, kind="train", model="acme/echo", version="a" * 64, input=Raw(b'{"data":"https://x/y"}'), created_at=AT
    ),
    "cancel": jobs.Cancel(id=ID, reason="late"),
    "started": events.Started(id=ID, run=RUN, at=AT),
    "output": events.Output(id=ID, run=RUN, index=3, values=[Raw(b'"a"'), Raw(b"[1,2]")], files=["out/x/y/z.png"]),
    "output_of_large_values": events.Output(
        id=ID, run=RUN, index=3, values=[Raw(b'"a"'), Raw(b"null")], stored={1: f"out/{ID}/x/{'b' * 64}.json"}
    ),
    "log": events.Log(id=ID, run=RUN, offset=5, text="line\n"),
    "crashed": events.Crashed(id=ID, run=RUN, at=AT, reason="killed by SIGKILL", attempt=3, job=17),
    "succeeded": events.Succeeded(
        id=ID,
        run=RUN,
        at=AT,
        created_at=AT,
        started_at=AT,
        pulled_at=AT,
        batched_at=AT,
        outputs=4,
        values=[Raw(b'"z"')],
        many=True,
        logs=5,
        log="end",
        metrics={"predict_time": 1.5},
    ),
    "succeeded_with_a_large_output": events.Succeeded(
        id=ID, run=RUN, at=AT, values=[Raw(b"null")], stored={0: f"out/{ID}/x/{'b' * 64}.json"}
    ),
    "failed": events.Failed(id=ID, run=RUN, at=AT, error="no"),
    "canceled": events.Canceled(id=ID, run=None, at=AT),
    "offers": models.Registration(
        agent="host-1",
        offers=[
            models.VersionInfo(
                owner="acme",
                name="echo",
                version="a" * 64,
                openapi_schema=Raw(b"{}"),
                cog_version="0.23.1",
                description="Says it again",
                labels={"openai": "chat"},
            )
        ],
    ),
    "manifest": models.Manifest(owner="acme", name="echo", pack="b" * 64, size=10240),
    "manifest_of_a_trained_version": models.Manifest(
        owner="acme",
        name="echo-mine",
        base="a" * 64,
        weights=models.Weights(key="out/x/y/head.safetensors", sha256="b" * 64, size=1024),
    ),
    "trained": models.TrainingResult(
        output=Raw(b'{"weights":"file:out/x/y/head.safetensors"}'),
        weights=models.Weights(key="file:out/x/y/head.safetensors", sha256="b" * 64, size=1024),
    ),
    "built": models.BuildResult(
        offer=models.VersionInfo(
            owner="acme", name="echo", version="a" * 64, openapi_schema=Raw(b"{}"), cog_version="0.23.1"
        ),
        setup_seconds=0.25,
        setup_log="loaded\n",
        environment="c" * 64,
        notes=["system_packages are not installed here: ffmpeg"],
    ),
    "releases": models.Releases(
        at=AT,
        releases=[
            models.Release(
                pool="d7+3", model="acme/echo", version="a" * 64, hardware="cpu", min_instances=1, max_instances=4
            ),
            models.Release(pool="d7+1", model="acme/echo", version="b" * 64),
        ],
    ),
    "retired": models.RetiredVersions(versions=["a" * 64]),
    "secret": inputs.Secret(prediction=ID, value="hush"),
    "presence": models.Heartbeat(agent="host-1", host="host", pool="default", versions=["a" * 64], warm=[]),
    "presence_of_a_busy_runner": models.Heartbeat(
        agent="host-1",
        host="host",
        pool="default",
        versions=["a" * 64],
        edition="0123456789abcdef",
        warm=["a" * 64],
        starting={"b" * 64: "loading", "d7+3/" + "c" * 64: "building"},
        failed={"d7+4/" + "d" * 64: "no such file"},
        hardware="cpu",
        memory=8_000_000_000,
        used=450_000_000,
        devices=[models.Device(name="cpu:0", kind="EPYC", memory=8_000_000_000, planned=600_000_000, cores=2)],
        residents=[
            models.InstanceStatus(
                version="a" * 64,
                model="acme/echo",
                number=0,
                state="hot",
                devices=["cpu:0"],
                memory=450_000_000,
                planned=600_000_000,
                running=3,
                queued=12,
                since=AT,
                used_at=AT,
            ),
            models.InstanceStatus(
                version="b" * 64, model="acme/sing", number=1, state="starting", phase="loading", since=AT
            ),
            models.InstanceStatus(
                version="c" * 64, release="d7+3", model="", number=0, state="starting", phase="building", since=AT
            ),
        ],
        counts={"loads": 2},
    ),
    "changes": changes.Changes(
        [
            changes.Change(
                id=ID,
                account=1,
                at=AT,
                model="acme/echo",
                version="a" * 64,
                status=Status.FAILED,
                created_at=AT,
                source="web",
                deployment="acme/steady",
                started_at=AT,
                completed_at=AT,
                error="no",
                metrics={"predict_time": 1.5},
            )
        ]
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_has_its_golden_form(name: str):
    message, file = MESSAGES[name], HERE / f"{name}.json"
    assert file.exists(), f"new on the wire: put this into {file}:\n{json.encode(message).decode()}"
    golden = file.read_bytes().strip()
    assert json.encode(message) == golden
    assert json.decode(golden, type=type(message)) == message
