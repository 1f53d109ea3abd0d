"""Logs: readable lines on a terminal, JSON lines elsewhere; never a token or a password in them."""

import logging
import re
import sys
from typing import Any, Final, TextIO

import structlog
from msgspec import json
from structlog.typing import EventDict, Processor, WrappedLogger

SECRETS: Final = re.compile(r"(?<=://)([^/\s:@]+):[^/\s@]+(?=@)|\b(?:smv|r8)_[A-Za-z0-9]{8,}|(?<=earer )\S{8,}")
TELLTALES: Final = ("asyncio", "asyncpg")  # loggers: what they know of a connection nobody else is told
LOST: Final = {
    "OSError",
    "PostgresConnectionError",
    "CannotConnectNowError",
    "AdminShutdownError",
    "CrashShutdownError",
}


def configure(*, verbose: bool = False, stream: TextIO | None = None) -> None:
    """For structlog and the standard library's logging alike."""
    out = stream or sys.stderr
    level = logging.DEBUG if verbose else logging.INFO
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if out.isatty() else "iso", utc=not out.isatty()),
    ]
    structlog.configure(
        processors=[*before, *_rendering(out)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*before, structlog.stdlib.ExtraAdder(), structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(out)],
        )
    )
    handler.addFilter(_without_trace)
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # Their lines at this level are about every request, and every query.
    for chatty in ("httpx", "httpcore", "asyncio", "asyncpg_trek"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def without_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {name: _hidden(value) for name, value in event.items()}


def _without_trace(record: logging.LogRecord) -> bool:
    """A connection that broke is one line and a warning: where in a library it was noticed tells nobody anything."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and record.name.partition(".")[0] in TELLTALES and _is_loss(error):
        about = record.getMessage().partition("\n")[0]
        record.msg, record.args, record.exc_info = f"{about}: {str(error) or type(error).__name__}", (), None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def _is_loss(error: BaseException) -> bool:
    # By name, as only a gateway has to load asyncpg, whose InterfaceError is also for mistakes.
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & LOST) or ("InterfaceError" in names and "closed" in str(error))


def _rendering(out: TextIO) -> list[Processor]:
    if out.isatty():
        return [without_secrets, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [
        structlog.processors.format_exc_info,
        without_secrets,
        structlog.processors.JSONRenderer(serializer=_json),
    ]


def _json(event: EventDict, **_: Any) -> str:
    return json.encode(event, enc_hook=repr).decode()


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return SECRETS.sub(lambda found: f"{found[1]}:…" if found[1] else "…", value)
    if isinstance(value, BaseException):
        return _hidden(repr(value))
    return value
