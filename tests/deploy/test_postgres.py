import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import asyncpg
import psutil
import pytest

from deploy.errors import UsageError
from deploy.local import postgres
from deploy.local.postgres import run_postgres
from deploy.local.process import Owner, start_process

QUICK_SETTINGS = {"shared_buffers": "16MB"}
ROOT = Path(__file__).parents[2]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="for root")


@pytest.fixture(scope="module")
async def seed(home: Path) -> Path:
    """A database made once, for tests to copy: that is quicker than to make one."""
    async with run_postgres(home / "seed", QUICK_SETTINGS) as server:
        await insert(server.url, 0)
    return home / "seed"


@pytest.fixture
def folder(seed: Path, request: pytest.FixtureRequest) -> Generator[Path]:
    path = seed.with_name(request.node.name)
    subprocess.run(["cp", "-a", seed, path], check=True)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def closed_folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


async def insert(url: str, number: int) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
    await connection.execute("INSERT INTO kept VALUES ($1)", number)
    await connection.close()


async def select(url: str) -> list[int]:
    connection = await asyncpg.connect(url)
    try:
        return [row["n"] for row in await connection.fetch("SELECT n FROM kept ORDER BY n")]
    finally:
        await connection.close()


async def test_data_outlast_a_stop_and_a_kill(folder: Path) -> None:
    async with run_postgres(folder, QUICK_SETTINGS) as first:
        await insert(first.url, 1)
    second = await postgres.prepare(folder, log=folder / "log", settings=QUICK_SETTINGS)
    process = await start_process(second.command)
    await postgres.wait_until_ready(second, process)
    await insert(second.url, 2)
    process.kill()
    await process.wait()
    async with run_postgres(folder, QUICK_SETTINGS) as third:
        assert await select(third.url) == [0, 1, 2]


async def test_an_orphaned_server_is_ended_before_a_start(folder: Path) -> None:
    orphan = await postgres.prepare(folder, log=folder / "log", settings=QUICK_SETTINGS)
    process = await start_process(orphan.command)
    await postgres.wait_until_ready(orphan, process)
    async with run_postgres(folder, QUICK_SETTINGS) as server:
        assert process.returncode is not None or await asyncio.wait_for(process.wait(), 5) is not None
        await insert(server.url, 1)


async def test_a_pid_file_that_names_a_stranger_keeps_nobody_from_starting(folder: Path) -> None:
    async with run_postgres(folder, QUICK_SETTINGS) as first:
        await insert(first.url, 1)
    (folder / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n/elsewhere\n1\n5432\n/tmp\n\n1 1\n")
    async with run_postgres(folder, QUICK_SETTINGS) as second:
        assert await select(second.url) == [0, 1]
    assert psutil.pid_exists(os.getpid())


async def test_it_is_reached_by_a_socket_that_is_closed_to_others(folder: Path) -> None:
    async with run_postgres(folder, QUICK_SETTINGS) as server:
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("SHOW listen_addresses") == ""
        await connection.close()
        assert server.socket.stat().st_mode & 0o777 == 0o700
        password = (folder / "password").read_text().strip()
        assert password not in " ".join(server.command.argv)
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.url.replace(password, "wrong"))
    assert not server.socket.exists()


async def test_a_half_made_database_is_made_anew(home: Path) -> None:
    (home / "half" / "data.new" / "base").mkdir(parents=True)
    async with run_postgres(home / "half", QUICK_SETTINGS) as server:
        await insert(server.url, 1)


async def test_a_database_of_another_version_is_refused_with_advice(folder: Path) -> None:
    (folder / "data" / "PG_VERSION").write_text("11\n")
    with pytest.raises(UsageError, match=r"made by PostgreSQL 11.*pip install"):
        await postgres.prepare(folder, log=folder / "log")


@as_root
async def test_root_may_keep_it_where_others_cannot_go(closed_folder: Path) -> None:
    async with run_postgres(closed_folder / "postgres", QUICK_SETTINGS) as server:
        await insert(server.url, 1)
        assert server.command.owner == Owner(postgres.NOBODY_UID, postgres.NOBODY_UID)


@as_root
def test_an_ordinary_user_may_run_it(home: Path) -> None:
    python = _python_for_all()
    folder = home / "of-nobody"
    folder.mkdir()
    os.chown(folder, postgres.NOBODY_UID, postgres.NOBODY_UID)
    code = (
        "import asyncio, asyncpg\nfrom pathlib import Path\nfrom deploy.local.postgres import run_postgres\n"
        "async def main():\n"
        f"    async with run_postgres(Path({str(folder / 'postgres')!r})) as server:\n"
        "        connection = await asyncpg.connect(server.url)\n"
        "        print(await connection.fetchval('SELECT 6 * 7'))\n"
        "        await connection.close()\n"
        "asyncio.run(main())\n"
    )
    path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry.endswith("site-packages"))])
    result = subprocess.run(
        [python, "-B", "-c", code],
        env={"PYTHONPATH": path, "PATH": os.defpath, "HOME": str(folder)},
        cwd=folder,
        user=postgres.NOBODY_UID,
        group=postgres.NOBODY_UID,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.stdout == "42\n", result.stderr


def _python_for_all() -> str:
    """An interpreter of our version that everybody may run; root's own may be under /root."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        real = Path(candidate).resolve()
        if real.exists() and all(folder.stat().st_mode & 0o001 for folder in (real, *real.parents)):
            return candidate
    pytest.skip("every interpreter is out of reach for others")
