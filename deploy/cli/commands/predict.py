"""`samovar predict`: a folder is run once, by the parts that a runner is made of, with no server."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Raw, json, structs

from deploy.cli.checking import checked, placed
from deploy.cli.client.api import Refused
from deploy.cli.client.inputs import inputs
from deploy.cli.commands.run import Model
from deploy.cli.session import ID, Hearing, Outcome, run, set_up
from deploy.cli.terminal.interrupts import Interrupted, Interrupts, interruptible
from deploy.cli.terminal.output import Progress, pretty
from deploy.errors import DeployError
from deploy.settings import read
from gateway.catalog.input_schema import Validator
from gateway.errors import GatewayError
from runners.errors import EnvironmentFailed, NotOffered, SetupFailed
from runners.process.worker_process import Program
from runners.settings import Settings, from_env
from runners.versions.environments import FOLDER, Environments
from runners.versions.introspection import introspected, program_of
from runners.versions.model_folder import Folder
from runners.worker.frames import Item

MODEL: Final = "local/predictor"


class Unwell(DeployError):
    """The folder cannot be run."""


def predict(folder: Path, given: list[str], *, output_dir: Path, as_json: bool, environ: Mapping[str, str]) -> int:
    """Returns the exit status."""
    # It is the user's own machine and network: they may reach there what a service must not.
    settings = structs.replace(read(from_env, environ), private_inputs=True)
    local = checked(folder, MODEL)
    for note in local.notes:
        print(f"samovar: {note}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="samovar-") as scratch, Progress("reading") as progress:
        task = Task(local, settings, Path(scratch), progress)
        try:
            outcome = asyncio.run(task.predicted(given, output_dir, show=not as_json))
        except Interrupted:
            outcome = Outcome(status="canceled", output=None, error=None, logs="", metrics={})
    return _told(outcome, as_json=as_json)


class Task:
    """A folder on its way to an output."""

    def __init__(self, folder: Folder, settings: Settings, scratch: Path, progress: Progress) -> None:
        self._folder = folder
        self._settings = settings
        self._scratch = scratch
        self._progress = progress
        self._files: dict[str, str] = {}
        """Paths of copies, by what stands for them in the input."""

    async def predicted(self, given: list[str], output_dir: Path, *, show: bool) -> Outcome:
        with interruptible() as interrupts:
            program, document = await interrupts.unless(self._prepared())
            text = _valid(inputs(given, document, self._copied), document)
            hearing = Hearing(Model(MODEL, document, None), self._progress, output_dir, show=show)
            outcome = await self._run(program, hearing, Item(ID, text, self._files), interrupts)
        self._progress.stop()
        hearing.tell(outcome)
        return outcome

    async def _prepared(self) -> tuple[Program, dict[str, Any]]:
        """What runs, and what it takes and gives."""
        cache, said = Path(self._settings.cache_dir), list[str]()

        def say(text: str) -> None:
            said.append(text)
            self._progress.log(text)

        self._progress.says("environment")
        try:
            environments = Environments(cache / FOLDER, limit=self._settings.build_limit)
            environment = await environments.ensure(self._folder.requirements, say)
            program = program_of(self._folder, environment, self._settings)
            self._progress.says("import")
            told = await introspected(self._folder, program, cache, say)
        except EnvironmentFailed as error:
            raise Unwell(placed("environment", error.file, error.line, str(error))) from None
        except NotOffered as error:
            if error.log not in said:
                say(error.log)
            raise Unwell(placed(error.stage, error.file, error.line, str(error))) from None
        # Whatever it leaves in the temporary folder goes with ours.
        program = structs.replace(program, environment={**program.environment, "TMPDIR": str(self._scratch)})
        return program, json.decode(told.schema)

    async def _run(self, program: Program, hearing: Hearing, item: Item, interrupts: Interrupts) -> Outcome:
        self._progress.says("setup")
        within, grace = self._settings.setup_limit, self._settings.cancel_grace
        try:
            async with set_up(program, hearing, self._scratch, within, interrupts) as worker:
                self._progress.says("running")
                return await run(worker, hearing, item, interrupts, grace)
        except SetupFailed as error:
            raise Unwell(placed(error.stage, error.file, error.line, error.cause)) from None

    def _copied(self, path: Path, _: str) -> str:
        """A predictor may do what it likes with its inputs: it gets copies of the user's files."""
        copy = self._scratch / "inputs" / str(len(self._files)) / path.name
        copy.parent.mkdir(parents=True)
        shutil.copyfile(path, copy)
        self._files[copy.as_uri()] = str(copy)
        return copy.as_uri()


def _valid(given: dict[str, Any], document: dict[str, Any]) -> bytes:
    """By the rules of a gateway."""
    try:
        return bytes(Validator(document).check(Raw(json.encode(given))))
    except GatewayError as error:
        raise Refused(error.problem()) from None


def _told(outcome: Outcome, *, as_json: bool) -> int:
    if as_json:
        print(pretty(outcome))
    if outcome.status == "succeeded":
        return 0
    reason = f": {outcome.error}" if outcome.error else ""
    print(f"samovar: {outcome.status}{reason}", file=sys.stderr)
    return 130 if outcome.status == "canceled" else 1
