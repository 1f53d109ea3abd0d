"""A run of a model's folder by the parts that a runner is made of, without a gateway."""

import asyncio
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Raw, json, structs

from deploy.cli.client.api import RequestRefused
from deploy.cli.client.inputs import parse_inputs
from deploy.cli.client.models import ModelSchema
from deploy.cli.folder.check import check_folder, describe_error
from deploy.cli.folder.prediction import PREDICTION_ID, Outcome, OutputListener, run_prediction, run_worker
from deploy.cli.terminal.interrupts import Interrupted, Interrupts, catch_interrupts
from deploy.cli.terminal.output import format_json, print_message
from deploy.cli.terminal.progress import Progress
from deploy.errors import DeployError
from deploy.settings import read_settings
from gateway.catalog.input_schema import InputValidator
from gateway.errors import GatewayError
from runners.errors import EnvironmentFailed, SetupFailed, UnusableModel
from runners.process.program import Program
from runners.settings import Settings, from_env
from runners.versions.environments import FOLDER, EnvironmentCache
from runners.versions.introspection import build_program, introspect
from runners.versions.model_folder import ModelFolder
from runners.worker.frames import Item

MODEL_NAME: Final = "local/predictor"


class PredictorFailed(DeployError):
    """The predictor of a folder cannot be loaded."""


def run_folder(
    folder: Path, pairs: Sequence[str], environ: Mapping[str, str], *, output_dir: Path, as_json: bool
) -> int:
    """Run a folder once with inputs typed as `name=value`, and print the outcome. Returns the exit status."""
    # It is the user's own machine and network: the predictor may reach there what a service must not.
    settings = structs.replace(read_settings(from_env, environ), private_inputs=True)
    model_folder = check_folder(folder, MODEL_NAME)
    for note in model_folder.notes:
        print_message(note)
    with tempfile.TemporaryDirectory(prefix="samovar-") as scratch, Progress("reading") as progress:
        run = FolderRun(model_folder, settings, Path(scratch), progress)
        try:
            outcome = asyncio.run(run.predict(pairs, output_dir, show=not as_json))
        except Interrupted:
            outcome = Outcome(status="canceled", output=None, error=None, logs="", metrics={})
    return _report(outcome, as_json=as_json)


class FolderRun:
    """A run of a model's folder, from its environment to its output. It owns the files in the scratch folder."""

    def __init__(self, folder: ModelFolder, settings: Settings, scratch: Path, progress: Progress) -> None:
        self._folder = folder
        self._settings = settings
        self._scratch = scratch
        self._progress = progress
        self._copies: dict[str, str] = {}
        """Paths of copied input files, by the URI that stands for each in the input."""

    async def predict(self, pairs: Sequence[str], output_dir: Path, *, show: bool) -> Outcome:
        """Run one prediction with inputs typed as `name=value`. Raises `DeployError`."""
        with catch_interrupts() as interrupts:
            program, document = await interrupts.run_until_interrupt(self._prepare())
            body = _validate(parse_inputs(pairs, document, self._copy_file), document)
            listener = OutputListener(ModelSchema(MODEL_NAME, document, None), self._progress, output_dir, show=show)
            outcome = await self._run(program, listener, Item(PREDICTION_ID, body, self._copies), interrupts)
        self._progress.stop()
        listener.print_output(outcome)
        return outcome

    async def _prepare(self) -> tuple[Program, dict[str, Any]]:
        """Return the program of the worker, and the schema of the model."""
        cache, logged = Path(self._settings.cache_dir), list[str]()

        def print_log(text: str) -> None:
            logged.append(text)
            self._progress.print_log(text)

        self._progress.update("environment")
        try:
            environments = EnvironmentCache(cache / FOLDER, limit=self._settings.build_limit)
            environment = await environments.acquire(self._folder.requirements, print_log)
            program = build_program(self._folder, environment, self._settings)
            self._progress.update("import")
            introspection = await introspect(self._folder, program, cache, print_log)
        except EnvironmentFailed as error:
            raise PredictorFailed(describe_error("environment", error.file, error.line, str(error))) from None
        except UnusableModel as error:
            if error.log not in logged:
                print_log(error.log)
            raise PredictorFailed(describe_error(error.stage, error.file, error.line, str(error))) from None
        # Whatever the predictor leaves in the temporary folder goes with ours.
        program = structs.replace(program, environment={**program.environment, "TMPDIR": str(self._scratch)})
        return program, json.decode(introspection.schema)

    async def _run(self, program: Program, listener: OutputListener, item: Item, interrupts: Interrupts) -> Outcome:
        self._progress.update("setup")
        settings = self._settings
        try:
            async with run_worker(program, listener, self._scratch, settings.setup_limit, interrupts) as worker:
                self._progress.update("running")
                return await run_prediction(worker, listener, item, interrupts, settings.cancel_grace)
        except SetupFailed as error:
            raise PredictorFailed(describe_error(error.stage, error.file, error.line, error.cause)) from None

    def _copy_file(self, path: Path, _: str) -> str:
        """Copy an input file and return the copy's URI: a predictor may do what it likes with its inputs."""
        copy = self._scratch / "inputs" / str(len(self._copies)) / path.name
        copy.parent.mkdir(parents=True)
        shutil.copyfile(path, copy)
        self._copies[copy.as_uri()] = str(copy)
        return copy.as_uri()


def _validate(values: dict[str, Any], document: dict[str, Any]) -> bytes:
    """Validate an input as a gateway does. Raises `RequestRefused`."""
    try:
        return bytes(InputValidator(document).check(Raw(json.encode(values))))
    except GatewayError as error:
        raise RequestRefused(error.problem()) from None


def _report(outcome: Outcome, *, as_json: bool) -> int:
    """Print how a prediction ended, and return the exit status."""
    if as_json:
        print(format_json(outcome))
    if outcome.status == "succeeded":
        return 0
    reason = f": {outcome.error}" if outcome.error else ""
    print_message(f"{outcome.status}{reason}")
    return 130 if outcome.status == "canceled" else 1
