"""Log routing: whose log gets what is printed. It is the set-up's at first, then that of the running items."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Protocol

from ..frames import FromWorker, LogText
from .outputs import clean_text

Ids = tuple[str, ...]

_MAX_SETUP_LOG: Final = 100_000  # characters
_owner: Final[ContextVar[Ids | None]] = ContextVar("owner", default=None)


class FrameSink(Protocol):
    """A sender of frames to the agent."""

    def send(self, *frames: FromWorker) -> None: ...


class LogRouter:
    """Sends printed text to the agent, with the ids of the items whose logs it belongs to.

    It keeps the end of the set-up's log for `Ready`, and knows which calls are running and for which items.
    """

    def __init__(self, sink: FrameSink) -> None:
        self._sink = sink
        self._in_setup = True
        self._ids_by_call: dict[object, Ids] = {}
        self._running_ids: list[str] = []
        self._setup_texts: list[str] = []
        self._setup_size = 0

    def route(self, text: str, ids: Sequence[str] | None = None) -> None:
        """Send a text for the logs of `ids`. Without `ids` its owner is unknown, and it goes to all that run."""
        text = clean_text(text)
        if self._in_setup:
            self._keep_setup_text(text)
        self._sink.send(LogText(self._running_ids if ids is None else list(ids), text))

    def end_setup(self) -> None:
        """Stop keeping what is printed for the set-up's log."""
        self._in_setup = False

    def set_call(self, call: object, ids: Ids) -> None:
        """Count these items among those that run, in the place of the call's earlier ones."""
        self._ids_by_call[call] = ids
        self._collect_ids()

    def remove_call(self, call: object) -> None:
        """Count the call's items no longer among those that run."""
        del self._ids_by_call[call]
        self._collect_ids()

    def set_owner(self, ids: Ids) -> None:
        """Route what Python prints in this context, and in those that are made in it, to these items alone."""
        _owner.set(ids)

    @contextmanager
    def owned_by(self, ids: Ids) -> Generator[None]:
        """Route what Python prints within the block to these items alone."""
        before = _owner.get()
        _owner.set(ids)
        try:
            yield
        finally:
            _owner.set(before)

    def setup_log(self) -> str:
        """Return the end of what was printed during set-up."""
        return "".join(self._setup_texts)[-_MAX_SETUP_LOG:]

    def _keep_setup_text(self, text: str) -> None:
        self._setup_texts.append(text)
        self._setup_size += len(text)
        if self._setup_size > 2 * _MAX_SETUP_LOG:
            self._setup_texts = [self.setup_log()]
            self._setup_size = _MAX_SETUP_LOG

    def _collect_ids(self) -> None:
        self._running_ids = [id for ids in self._ids_by_call.values() for id in ids]


def current_owner() -> Ids | None:
    """Return the items that own what is printed in this context, or None where nobody knows."""
    return _owner.get()
