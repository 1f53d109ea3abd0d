"""Files that live as long as a prediction, and those of its outputs, which wait to be taken away."""

import contextlib
import os
from itertools import count
from time import time
from typing import IO, Final

_EARLIER: Final = 0.01  # seconds; file systems count time in ticks


class Home:
    """A worker's own folder. Whoever started it removes what is left there."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._numbers = count(1)
        self._emptying: list[str] = []

    def place(self, kind: str) -> str:
        """A new folder; nothing is there yet."""
        if self._folder is None:
            import tempfile  # as shutil below, a part of a worker's start that most predictors do without

            self._folder = tempfile.mkdtemp(prefix="worker-")
        return os.path.join(self._folder, f"{kind}-{next(self._numbers)}-{os.urandom(4).hex()}")

    def spot(self, name: str) -> str:
        """Where an output may be put. It is fetched from there, and its folder goes when the next one is made."""
        self._emptying = [folder for folder in self._emptying if not _emptied(folder)]
        folder = self.place("output")
        os.makedirs(folder, 0o700)
        self._emptying.append(folder)
        return os.path.join(folder, name)


class Temporaries:
    """What one turn brings along, and what it leaves behind in the folder for temporary files."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._began = time()
        # Known before it is made: an interrupt between the two loses nothing.
        self._folder: str | None = None
        self._numbers = count(1)
        self._left: set[str] = set()
        self._opened: list[IO[bytes]] = []
        self.over = False
        """What is still being fetched is not wanted any more."""

    def place(self, name: str) -> str:
        """Where an input called so may be put, in a folder of its own."""
        if self.over:
            raise OSError("the prediction is over")
        if self._folder is None:
            self._folder = self._home.place("inputs")
        folder = os.path.join(self._folder, str(next(self._numbers)))
        os.makedirs(folder, 0o700)
        return os.path.join(folder, name)

    def open(self, path: str) -> IO[bytes]:
        file = open(path, "rb")  # noqa: SIM115
        self._opened.append(file)
        return file

    def keep(self, path: str, *, last: bool) -> str:
        """A file of an output as it is now, whatever becomes of it. `last`: user code will not touch it again."""
        kept = self._home.spot(os.path.basename(path))
        made_here = self._made_here(path)
        try:
            if not (last and made_here):
                raise OSError  # it may be written to
            os.link(path, kept)
        except OSError:
            import shutil

            shutil.copyfile(path, kept)
        if made_here:
            self._left.add(path)
        return kept

    def write(self, name: str, content: bytes) -> str:
        """A file of an output that was only in memory."""
        path = self._home.spot(name)
        with open(path, "xb") as file:
            file.write(content)
        return path

    def remove(self) -> None:
        self.over = True
        while self._opened:
            self._opened.pop().close()
        if self._folder is not None:
            import shutil

            shutil.rmtree(self._folder, ignore_errors=True)
        while self._left:
            with contextlib.suppress(OSError):
                os.unlink(self._left.pop())

    def _made_here(self, path: str) -> bool:
        """By this turn, in the folder for temporary files; others are the model's own."""
        import tempfile

        real = os.path.realpath(path)
        temporary = os.path.realpath(tempfile.gettempdir())
        return real.startswith(temporary + os.sep) and os.stat(real).st_ctime >= self._began - _EARLIER


class Outputs:
    """Keeps the files of one output of a turn. `last`: user code will not touch them again."""

    def __init__(self, temporaries: Temporaries, *, last: bool) -> None:
        self._temporaries = temporaries
        self._last = last

    def keep(self, path: str) -> str:
        return self._temporaries.keep(path, last=self._last)

    def write(self, name: str, content: bytes) -> str:
        return self._temporaries.write(name, content)

    def drop(self, paths: list[str]) -> None:
        drop(paths)


def drop(paths: list[str]) -> None:
    """Outputs that nobody will fetch."""
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _emptied(folder: str) -> bool:
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
