"""Files that live as long as a call, and those of its outputs, which wait until the agent takes them away."""

import contextlib
import os
from itertools import count
from time import time
from typing import IO, Final

_CLOCK_TICK: Final = 0.01  # seconds; file systems count time in ticks


class ScratchFolder:
    """A worker's own folder. Whoever started the worker removes what is left in it."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._numbers = count(1)
        self._output_folders: list[str] = []

    def new_path(self, kind: str) -> str:
        """Return the path of a new folder that does not exist yet."""
        if self._folder is None:
            import tempfile  # as shutil below, a part of a worker's start that most predictors do without

            self._folder = tempfile.mkdtemp(prefix="worker-")
        return os.path.join(self._folder, f"{kind}-{next(self._numbers)}-{os.urandom(4).hex()}")

    def new_output_path(self, name: str) -> str:
        """Return where to put an output file. The agent takes it from there.

        The folder of a file that was taken is removed when a later one is made.
        """
        self._output_folders = [folder for folder in self._output_folders if not _remove_if_empty(folder)]
        folder = self.new_path("output")
        os.makedirs(folder, 0o700)
        self._output_folders.append(folder)
        return os.path.join(folder, name)


class ScratchFiles:
    """The files of one call: inputs that were fetched for it, and what it leaves in the folder for temporary files.

    `Call` owns it, and `Responder` removes the files when the call is over.
    """

    def __init__(self, folder: ScratchFolder) -> None:
        self._scratch = folder
        self._created = time()
        # Known before it is made: an interrupt between the two loses nothing.
        self._inputs_folder: str | None = None
        self._numbers = count(1)
        self._temporary_outputs: set[str] = set()
        self._open_files: list[IO[bytes]] = []
        self.is_over = False
        """Whether the call is over: what is still being fetched is not needed any more."""

    def new_input_path(self, name: str) -> str:
        """Return where to put an input file of that name, in a folder of its own."""
        if self.is_over:
            raise OSError("the prediction is over")
        if self._inputs_folder is None:
            self._inputs_folder = self._scratch.new_path("inputs")
        folder = os.path.join(self._inputs_folder, str(next(self._numbers)))
        os.makedirs(folder, 0o700)
        return os.path.join(folder, name)

    def open(self, path: str) -> IO[bytes]:
        """Open a file for reading until the call is over."""
        file = open(path, "rb")  # noqa: SIM115
        self._open_files.append(file)
        return file

    def save_output(self, path: str, *, last: bool) -> str:
        """Save an output file as it is now, whatever becomes of it, and return the path of the copy.

        `last` says that user code will not touch the file again.
        """
        copy = self._scratch.new_output_path(os.path.basename(path))
        is_temporary = self._is_temporary(path)
        try:
            if not (last and is_temporary):
                raise OSError  # it may be written to
            os.link(path, copy)
        except OSError:
            import shutil

            shutil.copyfile(path, copy)
        if is_temporary:
            self._temporary_outputs.add(path)
        return copy

    def write_output(self, name: str, content: bytes) -> str:
        """Write an output file that was only in memory, and return its path."""
        path = self._scratch.new_output_path(name)
        with open(path, "xb") as file:
            file.write(content)
        return path

    def remove(self) -> None:
        """Close and delete everything but the saved outputs."""
        self.is_over = True
        while self._open_files:
            self._open_files.pop().close()
        if self._inputs_folder is not None:
            import shutil

            shutil.rmtree(self._inputs_folder, ignore_errors=True)
        while self._temporary_outputs:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary_outputs.pop())

    def _is_temporary(self, path: str) -> bool:
        """Return whether this call made the file, in the folder for temporary files; others are the model's own."""
        import tempfile

        real = os.path.realpath(path)
        temporary = os.path.realpath(tempfile.gettempdir())
        return real.startswith(temporary + os.sep) and os.stat(real).st_ctime >= self._created - _CLOCK_TICK


class OutputFiles:
    """Saves the files of one output of a call. `last` says that user code will not touch them again."""

    def __init__(self, scratch: ScratchFiles, *, last: bool) -> None:
        self._scratch = scratch
        self._last = last

    def save(self, path: str) -> str:
        """Save a file as it is now, and return the path of the copy."""
        return self._scratch.save_output(path, last=self._last)

    def write(self, name: str, content: bytes) -> str:
        """Write a file that was only in memory, and return its path."""
        return self._scratch.write_output(name, content)

    def delete(self, paths: list[str]) -> None:
        """Delete saved files that nobody will take."""
        delete_files(paths)


def delete_files(paths: list[str]) -> None:
    """Delete output files that nobody will take."""
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _remove_if_empty(folder: str) -> bool:
    """Remove an empty folder, and say whether it is gone."""
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
