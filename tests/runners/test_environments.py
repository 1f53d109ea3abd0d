"""Environments of versions: what they install, what they share, and how a failure is reported."""

import asyncio
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest

from runners.errors import EnvironmentFailed
from runners.versions.environments import EnvironmentCache
from runners.versions.requirements import Requirements, SourceLine
from tests.runners.conftest import eventually

OLD = "2.0.0"
"""Of iniconfig: another than the runner's."""

VERSION = "from importlib.metadata import version; print(version('iniconfig'))"


@pytest.fixture
def output() -> list[str]:
    return []


@pytest.fixture
def environments(tmp_path: Path) -> EnvironmentCache:
    return EnvironmentCache(tmp_path / "environments", environ={"PATH": os.environ["PATH"], "SAMOVAR_FILES_TOKEN": "s"})


@pytest.fixture(scope="session")
def uv(tmp_path_factory: pytest.TempPathFactory) -> str:
    """From PATH, or into a folder of its own."""
    if environment := shutil.which("uv"):
        return environment
    home = tmp_path_factory.mktemp("uv")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(home), "uv"]
    subprocess.run(command, check=True, capture_output=True)
    return str(home / "bin" / "uv")


def commands(*texts: str) -> Requirements:
    return Requirements(run=tuple(SourceLine(text, "cog.yaml", 3 + at) for at, text in enumerate(texts)))


def packages(*texts: str) -> Requirements:
    return Requirements(packages=tuple(SourceLine(text, "needs.txt", 1 + at) for at, text in enumerate(texts)))


def output_of(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


async def test_who_asks_for_nothing_gets_the_runners_own(environments: EnvironmentCache, output: list[str]):
    environment = await environments.acquire(Requirements(), output.append)
    assert (environment.python, environment.digest) == (Path(sys.executable), None)
    assert output == []


async def test_commands_run_in_an_empty_folder_with_the_environment_first_and_no_secrets(
    environments: EnvironmentCache, output: list[str]
):
    environment = await environments.acquire(
        commands("ls -A; python -c 'import sys; print(sys.prefix)'; env"), output.append
    )
    text = "".join(output)
    assert text.splitlines()[1] == str(environment.python.parents[1])
    assert "SAMOVAR" not in text
    assert f"VIRTUAL_ENV={environment.python.parents[1]}" in text


async def test_an_environment_is_built_once_and_is_of_its_content(environments: EnvironmentCache, output: list[str]):
    first, again = await asyncio.gather(
        *(environments.acquire(commands("echo built"), output.append) for _ in range(2))
    )
    assert first == again
    assert "".join(output).count("is there already") == 1
    assert "".join(output).count("\nbuilt\n") == 2, "the log of the build is passed on to whoever finds it built"
    moved = Requirements(run=(SourceLine("echo built", "other.yaml", 9),))
    assert (await environments.acquire(moved, output.append)).digest == first.digest
    other = await environments.acquire(commands("echo other"), output.append)
    assert other.digest != first.digest


async def test_it_is_laid_over_the_runners_packages(environments: EnvironmentCache, output: list[str]):
    environment = await environments.acquire(commands("true"), output.append)
    where = "import msgspec, importlib.util as u; print(msgspec.__file__, getattr(u.find_spec('torch'), 'origin', 0))"
    assert output_of(environment.python, where) == output_of(Path(sys.executable), where)


async def test_a_failed_command_is_reported_with_its_line_and_leaves_nothing(
    environments: EnvironmentCache, output: list[str], tmp_path: Path
):
    with pytest.raises(EnvironmentFailed, match="exit 7 ended with exit code 7") as caught:
        await environments.acquire(commands("true", "echo why; exit 7"), output.append)
    assert (caught.value.file, caught.value.line) == ("cog.yaml", 4)
    assert "why\n" in caught.value.log
    assert not [path for path in (tmp_path / "environments").iterdir() if path.is_dir()]


async def test_a_limit_ends_it_with_all_that_it_started(tmp_path: Path, output: list[str]):
    environments = EnvironmentCache(tmp_path / "environments", limit=1.5)
    pid = tmp_path / "pid"
    with pytest.raises(EnvironmentFailed, match=r"limit of 1\.5 s \(SAMOVAR_BUILD_LIMIT\)"):
        await environments.acquire(commands(f"sleep 600 & echo $! > {pid}; wait"), output.append)
    sleeper = int(pid.read_text())
    await eventually(lambda: not psutil.pid_exists(sleeper) or psutil.Process(sleeper).status() == "zombie")


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        pytest.param("3.9", "python 3.9 is too old", id="too old"),
        pytest.param("3.99", r"this runner has no python 3\.99; it has .*3\.\d+", id="not there"),
    ],
)
async def test_an_unavailable_python_is_reported(
    environments: EnvironmentCache, output: list[str], python: str, reason: str
):
    with pytest.raises(EnvironmentFailed, match=reason):
        await environments.acquire(Requirements(python_version=python), output.append)


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["uv", "pip"])
async def test_packages_are_laid_over_the_runners(tmp_path: Path, output: list[str], tool: str, uv: str):
    """A pinned version wins; what the runner has in a version that fits is not installed again."""
    assert version("iniconfig") != OLD
    environments = EnvironmentCache(tmp_path / "environments", uv=uv if tool == "uv" else None)
    environment = await environments.acquire(packages(f"iniconfig=={OLD}", "msgspec>=0.18", "pluggy"), output.append)
    installed = {path.name for path in environment.python.parents[1].glob("lib/python*/site-packages/*.dist-info")}
    assert installed == {f"iniconfig-{OLD}.dist-info"}
    assert output_of(environment.python, VERSION) == OLD
    where = "import msgspec, pluggy; print(msgspec.__file__, pluggy.__file__)"
    assert output_of(environment.python, where) == output_of(Path(sys.executable), where)


@pytest.mark.slow
async def test_what_a_package_wants_of_the_runners_is_installed_when_that_does_not_fit(
    tmp_path: Path, output: list[str], uv: str
):
    """uv does not see the runner's packages: what does not fit among them is found afterwards."""
    wheel = _wheel(tmp_path, "wantsold", f"iniconfig=={OLD}")
    environments = EnvironmentCache(tmp_path / "environments", uv=uv)
    environment = await environments.acquire(packages(f"--find-links {wheel.parent}", "wantsold"), output.append)
    assert output_of(environment.python, VERSION) == OLD


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["uv", "pip"])
async def test_a_missing_package_is_reported_with_its_line(tmp_path: Path, output: list[str], tool: str, uv: str):
    environments = EnvironmentCache(tmp_path / "environments", uv=uv if tool == "uv" else None)
    wanted = packages("pluggy", "there-is-no-such-package-zz9==1")
    with pytest.raises(EnvironmentFailed, match="there-is-no-such-package-zz9") as caught:
        await environments.acquire(wanted, output.append)
    assert (caught.value.file, caught.value.line) == ("needs.txt", 2)
    assert "there-is-no-such-package-zz9" in caught.value.log


def _wheel(home: Path, name: str, needs: str) -> Path:
    """A package of one empty module."""
    wheel = home / "wheels" / f"{name}-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as zipped:
        zipped.writestr(f"{name}.py", "")
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: {needs}\n"
        zipped.writestr(f"{info}/METADATA", metadata)
        zipped.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        zipped.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return wheel
