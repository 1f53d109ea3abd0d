"""`Path` and `File`: inputs and outputs that are files, on this host or still elsewhere."""

import io
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import IO, Any, Final, cast
from urllib.parse import unquote_plus, urlsplit

_MAX_NAME_BYTES: Final = 200
_FETCH_SECONDS: Final = 10.0


class URLFile(io.IOBase):
    """A file at an http(s) address that is fetched when it is first read. It can be pickled."""

    def __init__(self, url: str, filename: str | None = None, *, opened: IO[bytes] | None = None) -> None:
        """Refer to the file at `url`. `opened` is the file itself, if somebody has fetched it already."""
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("a URLFile needs an http or https address")
        vars(self).update(_url=url, _opened=opened, name=filename or os.path.basename(urlsplit(url).path))

    @property
    def __wrapped__(self) -> IO[bytes]:
        if vars(self).get("_opened") is None:
            vars(self)["_opened"] = _fetch(vars(self)["_url"])
        return vars(self)["_opened"]

    def __getattr__(self, name: str) -> Any:
        # Dunder names are asked for by machinery, which must not cause a download.
        if name.startswith("__") or "_url" not in vars(self):
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self) or name.startswith("__"):  # `io.IOBase` keeps its own under such names
            vars(self)[name] = value
        else:
            setattr(self.__wrapped__, name, value)

    # The methods of `io.IOBase` would hide the file's own.
    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to a place in the file."""
        return self.__wrapped__.seek(offset, whence)

    def tell(self) -> int:
        """Return the place in the file."""
        return self.__wrapped__.tell()

    def seekable(self) -> bool:
        """Return whether the file can be read from any place."""
        return self.__wrapped__.seekable()

    def readable(self) -> bool:
        """Return True: the file is there to be read."""
        return True

    def close(self) -> None:
        """Close the file if it has been fetched."""
        if (opened := vars(self).get("_opened")) is not None:
            opened.close()
        super().close()

    def __iter__(self) -> Iterator[bytes]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return iter(self.__wrapped__)

    def __next__(self) -> bytes:
        return next(self.__wrapped__)

    def __getstate__(self) -> dict[str, Any]:
        return {"name": vars(self)["name"], "_url": vars(self)["_url"]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _opened=None)

    def __repr__(self) -> str:
        return f"<URLFile {vars(self).get('_url')!r}>"


class File(io.IOBase):
    """An input that is read rather than opened. It is for old predictors: use `Path`."""

    @classmethod
    def validate(cls, value: Any) -> Any:
        """Return an open file for an address or a data: URI."""
        if isinstance(value, io.IOBase):
            return value
        url = str(value)
        match urlsplit(url).scheme:
            case "data":
                return io.BytesIO(_fetch(url).read())
            case "http" | "https":
                return URLFile(url)
            case scheme:
                raise ValueError(f"{scheme or 'a bare path'!r} is no scheme of a File: give data:, http: or https:")


class URLPath(pathlib.PosixPath):
    """A file that is fetched by `convert()`; until then it reads as its address."""

    source: str
    filename: str
    fileobj: Any
    _converted: "Path | None"

    def __new__(cls, *, source: str, filename: str, fileobj: Any) -> "URLPath":
        path = super().__new__(cls, filename)
        path.source, path.filename, path.fileobj, path._converted = source, _shorten(filename), fileobj, None
        return path

    if sys.version_info >= (3, 12):

        def __init__(self, *, source: str, filename: str, fileobj: Any) -> None:
            super().__init__(filename)

    def convert(self) -> "Path":
        """Fetch the file and return its path on this host. `unlink` removes it."""
        if self._converted is None:
            import shutil
            import tempfile

            with tempfile.NamedTemporaryFile(suffix=self.filename, delete=False) as file:
                shutil.copyfileobj(self.fileobj, file)
            self._converted = Path(file.name)
        return self._converted

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file if it has been fetched."""
        if self._converted is not None:
            self._converted.unlink(missing_ok)

    def __str__(self) -> str:
        return self.source


class Path(pathlib.PosixPath):
    """A file on this host. As an input it exists before `predict` begins, and is removed after it."""

    @classmethod
    def validate(cls, value: Any) -> pathlib.Path:
        """Return a path for the value. An address becomes one that is fetched later."""
        if isinstance(value, pathlib.Path):
            return value
        if urlsplit(value).scheme in ("data", "http", "https"):
            return URLPath(source=value, filename=_filename(value), fileobj=File.validate(value))
        return cls(value)


def _filename(url: str) -> str:
    """Return what to call the file at an address."""
    if url.startswith("data:"):
        import mimetypes

        media = url[5:].partition(",")[0].partition(";")[0]
        return "file" + (mimetypes.guess_extension(media or "text/plain") or "")
    name = unquote_plus(os.path.basename(urlsplit(url).path))
    return _shorten(name.replace("/", "_").replace("\0", "_"))


def _shorten(name: str) -> str:
    if len(name.encode()) <= _MAX_NAME_BYTES:
        return name
    stem, suffix = os.path.splitext(name)
    return stem.encode()[: _MAX_NAME_BYTES - len(suffix.encode()) - 1].decode(errors="ignore") + "~" + suffix


def _fetch(url: str) -> IO[bytes]:
    from urllib.request import Request, urlopen  # brings http, ssl and email with it, which most never need

    agent = os.environ.get("COG_USER_AGENT")
    request = Request(url, headers={"User-Agent": agent} if agent else {})  # noqa: S310  the callers check the scheme
    return cast("IO[bytes]", urlopen(request, timeout=_FETCH_SECONDS))  # noqa: S310
