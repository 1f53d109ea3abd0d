"""A worker process, from its agent's side."""

import asyncio
import os
import textwrap
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runners.errors import SetupFailed
from runners.process import healthcheck, worker_process
from runners.process.program import Program, download_limits, worker_environment
from runners.process.worker_process import WorkerProcess
from runners.worker.frames import Done, FromWorker, Item, LogText
from tests.runners.conftest import eventually

INVALID_FRAMES = """
import os, sys, time
os.write(int(sys.argv[sys.argv.index("--fd") + 1]), b"\\x00\\x00\\x00\\x04\\xff\\xff\\xff\\xff" * 4)
time.sleep(60)
"""


async def test_a_worker_that_sends_invalid_frames_counts_as_crashed(tmp_path: Path) -> None:
    """If it counted as killed by us, its jobs would be repeated for ever."""
    host = tmp_path / "host.py"
    host.write_text(INVALID_FRAMES)
    worker = await worker_process.start_worker(
        Program(folder=tmp_path, ref="predict.py:Predictor", environment={}, host=str(host)), lambda _: None
    )
    ended = await worker.wait_exit()
    assert "SIGKILL" in ended.reason
    assert not ended.killed_by_us


def write_program(folder: Path, code: str, **environment: str) -> Program:
    (folder / "predict.py").write_text(textwrap.dedent(code))
    return Program(folder=folder, ref="predict.py:Predictor", environment={**os.environ, **environment})


@asynccontextmanager
async def running_worker(
    program: Program,
    on_frame: Callable[[FromWorker], None] = lambda _: None,
    on_setup_output: Callable[[str], None] | None = None,
) -> AsyncGenerator[WorkerProcess]:
    worker = await worker_process.start_worker(program, on_frame, on_setup_output)
    try:
        yield worker
    finally:
        worker.kill()
        await worker.shut_down()


BROKEN = [
    pytest.param(
        "raise OSError('no disk')", "setup failed: predict.py:8: OSError: no disk", "OSError: no disk", 8, id="raises"
    ),
    pytest.param(
        "sys.exit(3)",
        "setup failed: predict.py:8: The predictor called sys.exit(3)",
        "The predictor called sys.exit(3)",
        8,
        id="exits",
    ),
    pytest.param(
        "os._exit(3)",
        "setup failed: predict.py:8: The predictor called os._exit(3)",
        "The predictor called os._exit(3)",
        8,
        id="exits at once",
    ),
    pytest.param(
        "os.kill(os.getpid(), 9)",
        "the worker died in setup: killed by SIGKILL",
        "the worker died: killed by SIGKILL",
        None,
        id="is killed",
    ),
    pytest.param(
        "os.kill(os.getpid(), 11)",
        "the worker died in setup: killed by SIGSEGV",
        "the worker died: killed by SIGSEGV",
        8,
        id="crashes",
    ),
    pytest.param(
        "while True: pass",
        "setup took longer than the limit of 1 s",
        "setup took longer than the limit of 1 s",
        8,
        id="hangs",
    ),
    pytest.param(
        "time.sleep(1000)",
        "setup took longer than the limit of 1 s",
        "setup took longer than the limit of 1 s",
        8,
        id="waits for ever",
    ),
]


@pytest.mark.parametrize(("body", "reason", "cause", "line"), BROKEN)
async def test_a_failed_setup_names_its_place_and_keeps_its_log(
    tmp_path: Path, body: str, reason: str, cause: str, line: int | None
) -> None:
    code = f"""
        import os, sys, time
        class Predictor:
            def predict(self): ...
            def setup(self):
                print("so far")
                os.write(1, b"natively\\n")
                {body}
    """
    output: list[str] = []
    async with running_worker(write_program(tmp_path, code), on_setup_output=output.append) as worker:
        with pytest.raises(SetupFailed) as failed:
            await worker.wait_ready(1 if "limit" in reason else 60)
    assert str(failed.value) == reason
    assert (failed.value.cause, failed.value.stage) == (cause, "setup")
    assert (failed.value.file, failed.value.line) == ("predict.py" if line else None, line)
    assert failed.value.log.startswith("so far\nnatively\n")
    assert "".join(output).startswith("so far\n")


async def test_a_failed_import_names_its_place(tmp_path: Path) -> None:
    async with running_worker(write_program(tmp_path, "\nimport nowhere\n")) as worker:
        with pytest.raises(SetupFailed) as failed:
            await worker.wait_ready(60)
    assert (failed.value.stage, failed.value.file, failed.value.line) == ("import", "predict.py", 2)
    assert failed.value.cause == "ModuleNotFoundError: No module named 'nowhere'"
    assert failed.value.log.startswith("Traceback (most recent call last):\n")


SLOW = """
    import os, time
    class Predictor:
        def setup(self):
            print("loading", flush=True)
            while os.path.exists("wait"): time.sleep(0.001)
        def predict(self): return open("state").read()
        def healthcheck(self):
            state = open("state").read()
            if state == "stuck": time.sleep(1000)
            return state == "well"
"""


async def test_setup_output_is_passed_on_while_setup_runs(tmp_path: Path) -> None:
    (tmp_path / "wait").touch()
    (tmp_path / "state").write_text("well")
    output: list[str] = []
    async with running_worker(write_program(tmp_path, SLOW), on_setup_output=output.append) as worker:
        ready = asyncio.create_task(worker.wait_ready(60))
        await eventually(lambda: output == ["loading\n"])
        assert not ready.done()
        (tmp_path / "wait").unlink()
        assert (await ready).log == "loading\n"


async def test_the_place_where_setup_hung_is_known_without_its_stderr(tmp_path: Path) -> None:
    """Which the worker reads itself: it could be dead between taking that out and passing it on."""
    code = """
        import os, time
        class Predictor:
            def setup(self):
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                print("loading", flush=True)
                time.sleep(1000)
            def predict(self): ...
    """
    output: list[str] = []
    async with running_worker(write_program(tmp_path, code), on_setup_output=output.append) as worker:
        await eventually(lambda: output == ["loading\n"])
        with pytest.raises(SetupFailed, match="longer than the limit") as failed:
            await worker.wait_ready(0.1)
    assert (failed.value.file, failed.value.line) == ("predict.py", 7)
    assert failed.value.log.startswith("loading\nFatal Python error: Aborted")


async def test_the_death_of_a_forked_child_is_in_the_log(tmp_path: Path) -> None:
    code = """
        import os
        class Predictor:
            def setup(self):
                child = os.fork()
                if not child: os.kill(os.getpid(), 11)
                os.waitpid(child, 0)
            def predict(self): ...
    """
    async with running_worker(write_program(tmp_path, code)) as worker:
        assert (await worker.wait_ready(60)).log.startswith("Fatal Python error: Segmentation fault")


async def test_an_unhealthy_worker_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("ill")
    async with running_worker(write_program(tmp_path, SLOW)) as worker:
        with pytest.raises(SetupFailed, match="setup failed: healthcheck returned False") as failed:
            await worker.wait_ready(60)
        assert failed.value.log == "loading\n"


@pytest.mark.parametrize("state", ["ill", "stuck"])
async def test_a_worker_that_became_unhealthy_is_killed_once_nothing_runs(tmp_path: Path, state: str) -> None:
    (tmp_path / "state").write_text("well")
    busy = [True]
    async with running_worker(write_program(tmp_path, SLOW)) as worker:
        await worker.wait_ready(60)
        assert await worker.check_health() is None
        (tmp_path / "state").write_text(state)
        impatient = ImpatientWorker(worker)
        watching = asyncio.create_task(
            healthcheck.watch_health(impatient, lambda: not busy[0], while_running=True, interval=0.01)
        )
        await eventually(lambda: len(impatient.reasons) > 1)
        assert not watching.done()
        busy[0] = False
        ended = await worker.wait_exit()
        await watching
    assert ended.killed_by_us
    assert set(impatient.reasons) == {
        "healthcheck returned False" if state == "ill" else "healthcheck gave no answer within 0.05 s"
    }


class ImpatientWorker:
    """A worker that waits less long for an answer, and records it."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self.pid = worker.pid
        self.reasons: list[str | None] = []

    async def check_health(self) -> str | None:
        # What is ill says so in time, what is stuck does not.
        self.reasons.append(await self._worker.check_health(0.05 if not self.reasons or self.reasons[-1] else 5))
        return self.reasons[-1]

    def kill(self) -> None:
        self._worker.kill()


async def test_no_files_of_a_worker_are_left(tmp_path: Path) -> None:
    code = """
        from cog import Path
        class Predictor:
            def predict(self, x: Path):
                print(x, flush=True)
                while True: pass
    """
    frames: list[FromWorker] = []
    async with running_worker(write_program(tmp_path, code), frames.append) as worker:
        await worker.wait_ready(60)
        worker.run([Item("a", b'{"x": "data:,x"}')])
        await eventually(lambda: any(isinstance(frame, LogText) for frame in frames))
        path = next(frame.text for frame in frames if isinstance(frame, LogText)).strip()
        assert exists(path)
    assert not exists(str(Path(path).parents[2]))


def exists(path: str) -> bool:
    return os.path.exists(path)


async def test_a_model_cannot_change_the_download_limits(tmp_path: Path) -> None:
    ours = {"PATH": os.environ["PATH"], "SAMOVAR_TOKEN": "secret"}
    own = {"SAMOVAR_INPUTS": '{"private": true}', "A": "b"}
    assert worker_environment(ours, "/cache", own) == {
        "PATH": ours["PATH"],
        "SAMOVAR_CACHE_DIR": "/cache",
        "A": "b",
    }
    limits = download_limits(1000, 5, private=False)
    code = """
        class Predictor:
            def predict(self, x: __import__("pathlib").Path): ...
    """
    (tmp_path / "predict.py").write_text(textwrap.dedent(code))
    made = Program(
        folder=tmp_path,
        ref="predict.py:Predictor",
        environment=worker_environment(ours, "/cache", own, limits),
    )
    frames: list[FromWorker] = []
    async with running_worker(made, frames.append) as worker:
        await worker.wait_ready(60)
        worker.run([Item("a", b'{"x": "http://127.0.0.1:1/"}')])
        await eventually(lambda: [frame for frame in frames if isinstance(frame, Done)])
        (done,) = [frame for frame in frames if isinstance(frame, Done)]
        assert "127.0.0.1 is a private address" in (done.error or "")
