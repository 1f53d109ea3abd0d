"""`Path` and `File`: inputs and outputs that are files, here or still elsewhere."""

import io
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import IO, Any, Final, cast
from urllib.parse import unquote_plus, urlsplit

_LONGEST: Final = 200  # bytes of a file's name
_WITHIN: Final = 10.0


class URLFile(io.IOBase):
    """A file at an http(s) address, fetched when it is first read. It can be pickled."""

    def __init__(self, url: str, filename: str | None = None, *, opened: IO[bytes] | None = None) -> None:
        """`opened` is the file, where somebody has fetched it already."""
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("a URLFile needs an http or https address")
        vars(self).update(_url=url, _opened=opened, name=filename or os.path.basename(urlsplit(url).path))

    @property
    def __wrapped__(self) -> IO[bytes]:
        if vars(self).get("_opened") is None:
            vars(self)["_opened"] = _fetched(vars(self)["_url"])
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

    # What `io.IOBase` has by itself would hide the file's own.
    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self.__wrapped__.seek(offset, whence)

    def tell(self) -> int:
        return self.__wrapped__.tell()

    def seekable(self) -> bool:
        return self.__wrapped__.seekable()

    def readable(self) -> bool:
        return True

    def close(self) -> None:
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
    """An input that is read rather than opened. Kept for old predictors: use `Path`."""

    @classmethod
    def validate(cls, value: Any) -> Any:
        """An open file, of an address or a data: URI."""
        if isinstance(value, io.IOBase):
            return value
        url = str(value)
        match urlsplit(url).scheme:
            case "data":
                return io.BytesIO(_fetched(url).read())
            case "http" | "https":
                return URLFile(url)
            case scheme:
                raise ValueError(f"{scheme or 'a bare path'!r} is no scheme of a File: give data:, http: or https:")


class URLPath(pathlib.PosixPath):
    """A file that is fetched by `convert()`; until then it reads as its address."""

    source: str
    filename: str
    fileobj: Any
    _made: "Path | None"

    def __new__(cls, *, source: str, filename: str, fileobj: Any) -> "URLPath":
        made = super().__new__(cls, filename)
        made.source, made.filename, made.fileobj, made._made = source, _short(filename), fileobj, None
        return made

    if sys.version_info >= (3, 12):

        def __init__(self, *, source: str, filename: str, fileobj: Any) -> None:
            super().__init__(filename)

    def convert(self) -> "Path":
        """The file, here. It is removed by `unlink`."""
        if self._made is None:
            import shutil
            import tempfile

            with tempfile.NamedTemporaryFile(suffix=self.filename, delete=False) as file:
                shutil.copyfileobj(self.fileobj, file)
            self._made = Path(file.name)
        return self._made

    def unlink(self, missing_ok: bool = False) -> None:
        if self._made is not None:
            self._made.unlink(missing_ok)

    def __str__(self) -> str:
        return self.source


class Path(pathlib.PosixPath):
    """A file on this host. As an input it is there before `predict` begins, and gone after it."""

    @classmethod
    def validate(cls, value: Any) -> pathlib.Path:
        """Of an address, a path that is fetched later."""
        if isinstance(value, pathlib.Path):
            return value
        if urlsplit(value).scheme in ("data", "http", "https"):
            return URLPath(source=value, filename=_filename(value), fileobj=File.validate(value))
        return cls(value)


def _filename(url: str) -> str:
    """What to call the file that is there."""
    if url.startswith("data:"):
        import mimetypes

        media = url[5:].partition(",")[0].partition(";")[0]
        return "file" + (mimetypes.guess_extension(media or "text/plain") or "")
    name = unquote_plus(os.path.basename(urlsplit(url).path))
    return _short(name.replace("/", "_").replace("\0", "_"))


def _short(name: str) -> str:
    if len(name.encode()) <= _LONGEST:
        return name
    stem, suffix = os.path.splitext(name)
    return stem.encode()[: _LONGEST - len(suffix.encode()) - 1].decode(errors="ignore") + "~" + suffix


def _fetched(url: str) -> IO[bytes]:
    from urllib.request import Request, urlopen  # brings http, ssl and email with it, which most never need

    agent = os.environ.get("COG_USER_AGENT")
    request = Request(url, headers={"User-Agent": agent} if agent else {})  # noqa: S310  the callers check the scheme
    return cast("IO[bytes]", urlopen(request, timeout=_WITHIN))  # noqa: S310
