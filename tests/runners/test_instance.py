"""A worker process as its agent sees it."""

import asyncio
import os
import textwrap
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runners.errors import SetupFailed
from runners.process import healthcheck, worker_process
from runners.process.worker_process import Instance, Program
from runners.worker.frames import Done, FromWorker, Item, Said
from tests.runners.conftest import eventually

NONSENSE = """
import os, sys, time
os.write(int(sys.argv[sys.argv.index("--fd") + 1]), b"\\x00\\x00\\x00\\x04\\xff\\xff\\xff\\xff" * 4)
time.sleep(60)
"""


async def test_a_worker_that_speaks_nonsense_dies_by_its_own_fault(tmp_path: Path) -> None:
    """Killed for the sake of others, its jobs would run again without being counted, and for ever."""
    host = tmp_path / "host.py"
    host.write_text(NONSENSE)
    worker = await worker_process.start(
        Program(folder=tmp_path, ref="predict.py:Predictor", environment={}, host=str(host)), lambda _: None
    )
    ended = await worker.ended()
    assert "SIGKILL" in ended.reason
    assert not ended.ours


def program(folder: Path, code: str, **environment: str) -> Program:
    (folder / "predict.py").write_text(textwrap.dedent(code))
    return Program(folder=folder, ref="predict.py:Predictor", environment={**os.environ, **environment})


@asynccontextmanager
async def begun(
    program: Program, heard: Callable[[FromWorker], None] = lambda _: None, said: Callable[[str], None] | None = None
) -> AsyncGenerator[Instance]:
    worker = await worker_process.start(program, heard, said)
    try:
        yield worker
    finally:
        worker.kill()
        await worker.end()


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
async def test_a_set_up_that_fails_says_where_and_keeps_its_log(
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
    said: list[str] = []
    async with begun(program(tmp_path, code), said=said.append) as worker:
        with pytest.raises(SetupFailed) as failed:
            await worker.ready(1 if "limit" in reason else 60)
    assert str(failed.value) == reason
    assert (failed.value.cause, failed.value.stage) == (cause, "setup")
    assert (failed.value.file, failed.value.line) == ("predict.py" if line else None, line)
    assert failed.value.log.startswith("so far\nnatively\n")
    assert "".join(said).startswith("so far\n")


async def test_an_import_that_fails_says_where(tmp_path: Path) -> None:
    async with begun(program(tmp_path, "\nimport nowhere\n")) as worker:
        with pytest.raises(SetupFailed) as failed:
            await worker.ready(60)
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


async def test_set_up_is_heard_while_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "wait").touch()
    (tmp_path / "state").write_text("well")
    said: list[str] = []
    async with begun(program(tmp_path, SLOW), said=said.append) as worker:
        ready = asyncio.create_task(worker.ready(60))
        await eventually(lambda: said == ["loading\n"])
        assert not ready.done()
        (tmp_path / "wait").unlink()
        assert (await ready).log == "loading\n"


async def test_where_it_hung_is_not_told_by_its_own_stderr(tmp_path: Path) -> None:
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
    said: list[str] = []
    async with begun(program(tmp_path, code), said=said.append) as worker:
        await eventually(lambda: said == ["loading\n"])
        with pytest.raises(SetupFailed, match="longer than the limit") as failed:
            await worker.ready(0.1)
    assert (failed.value.file, failed.value.line) == ("predict.py", 7)
    assert failed.value.log.startswith("loading\nFatal Python error: Aborted")


async def test_how_a_forked_child_dies_is_in_the_log(tmp_path: Path) -> None:
    code = """
        import os
        class Predictor:
            def setup(self):
                child = os.fork()
                if not child: os.kill(os.getpid(), 11)
                os.waitpid(child, 0)
            def predict(self): ...
    """
    async with begun(program(tmp_path, code)) as worker:
        assert (await worker.ready(60)).log.startswith("Fatal Python error: Segmentation fault")


async def test_one_that_is_not_well_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("ill")
    async with begun(program(tmp_path, SLOW)) as worker:
        with pytest.raises(SetupFailed, match="setup failed: healthcheck returned False") as failed:
            await worker.ready(60)
        assert failed.value.log == "loading\n"


@pytest.mark.parametrize("state", ["ill", "stuck"])
async def test_one_that_is_no_longer_well_is_killed_once_nothing_runs(tmp_path: Path, state: str) -> None:
    (tmp_path / "state").write_text("well")
    busy = [True]
    async with begun(program(tmp_path, SLOW)) as worker:
        await worker.ready(60)
        assert await worker.healthy() is None
        (tmp_path / "state").write_text(state)
        patient = Impatient(worker)
        watching = asyncio.create_task(healthcheck.watch(patient, lambda: not busy[0], beside=True, every=0.01))
        await eventually(lambda: len(patient.reasons) > 1)
        assert not watching.done()
        busy[0] = False
        ended = await worker.ended()
        await watching
    assert ended.ours
    assert set(patient.reasons) == {
        "healthcheck returned False" if state == "ill" else "healthcheck gave no answer within 0.05 s"
    }


class Impatient:
    """Waits less long for an answer, and writes down what it is."""

    def __init__(self, worker: Instance) -> None:
        self._worker = worker
        self.pid = worker.pid
        self.reasons: list[str | None] = []

    async def healthy(self) -> str | None:
        # What is ill says so in time, what is stuck does not.
        self.reasons.append(await self._worker.healthy(0.05 if not self.reasons or self.reasons[-1] else 5))
        return self.reasons[-1]

    def kill(self) -> None:
        self._worker.kill()


async def test_nothing_of_a_worker_is_left(tmp_path: Path) -> None:
    code = """
        from cog import Path
        class Predictor:
            def predict(self, x: Path):
                print(x, flush=True)
                while True: pass
    """
    heard: list[FromWorker] = []
    async with begun(program(tmp_path, code), heard.append) as worker:
        await worker.ready(60)
        worker.run([Item("a", b'{"x": "data:,x"}')])
        await eventually(lambda: any(isinstance(frame, Said) for frame in heard))
        path = next(frame.text for frame in heard if isinstance(frame, Said)).strip()
        assert there(path)
    assert not there(str(Path(path).parents[2]))


def there(path: str) -> bool:
    return os.path.exists(path)


async def test_what_may_be_fetched_is_not_the_models_to_say(tmp_path: Path) -> None:
    ours = {"PATH": os.environ["PATH"], "SAMOVAR_TOKEN": "secret"}
    own = {"SAMOVAR_INPUTS": '{"private": true}', "A": "b"}
    assert worker_process.environment(ours, "/cache", own) == {
        "PATH": ours["PATH"],
        "SAMOVAR_CACHE_DIR": "/cache",
        "A": "b",
    }
    limits = worker_process.limits(1000, 5, private=False)
    code = """
        class Predictor:
            def predict(self, x: __import__("pathlib").Path): ...
    """
    (tmp_path / "predict.py").write_text(textwrap.dedent(code))
    made = Program(
        folder=tmp_path,
        ref="predict.py:Predictor",
        environment=worker_process.environment(ours, "/cache", own, limits),
    )
    heard: list[FromWorker] = []
    async with begun(made, heard.append) as worker:
        await worker.ready(60)
        worker.run([Item("a", b'{"x": "http://127.0.0.1:1/"}')])
        await eventually(lambda: [frame for frame in heard if isinstance(frame, Done)])
        (done,) = [frame for frame in heard if isinstance(frame, Done)]
        assert "127.0.0.1 is a private address" in (done.error or "")
