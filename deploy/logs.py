"""Logging: readable lines on a terminal, JSON lines elsewhere, and never a token or a password."""

import logging
import re
import sys
from typing import Any, Final, TextIO

import structlog
from msgspec import json
from structlog.typing import EventDict, Processor, WrappedLogger

SECRETS: Final = re.compile(r"(?<=://)([^/\s:@]+):[^/\s@]+(?=@)|\b(?:smv|r8)_[A-Za-z0-9]{8,}|(?<=earer )\S{8,}")
CONNECTION_LOGGERS: Final = ("asyncio", "asyncpg")  # the only ones that report some broken connections
CONNECTION_ERRORS: Final = {
    "OSError",
    "PostgresConnectionError",
    "CannotConnectNowError",
    "AdminShutdownError",
    "CrashShutdownError",
}


def configure_logging(*, verbose: bool = False, stream: TextIO | None = None) -> None:
    """Configure structlog and the standard library's logging alike."""
    out = stream or sys.stderr
    level = logging.DEBUG if verbose else logging.INFO
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if out.isatty() else "iso", utc=not out.isatty()),
    ]
    structlog.configure(
        processors=[*processors, *_renderers(out)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*processors, structlog.stdlib.ExtraAdder(), structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(out)],
        )
    )
    handler.addFilter(_shorten_connection_error)
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # Their lines at this level are about every request, and every query.
    for name in ("httpx", "httpcore", "asyncio", "asyncpg_trek"):
        logging.getLogger(name).setLevel(logging.WARNING)


def remove_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace tokens and passwords in every field of an event."""
    return {name: _hide_secrets(value) for name, value in event.items()}


def _shorten_connection_error(record: logging.LogRecord) -> bool:
    """Turn the traceback of a broken connection into a one-line warning: where a library noticed it helps nobody."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and record.name.partition(".")[0] in CONNECTION_LOGGERS and _is_connection_error(error):
        first_line = record.getMessage().partition("\n")[0]
        record.msg, record.args, record.exc_info = f"{first_line}: {str(error) or type(error).__name__}", (), None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def _is_connection_error(error: BaseException) -> bool:
    # By name, as only a gateway has to load asyncpg, whose InterfaceError is also for mistakes.
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & CONNECTION_ERRORS) or ("InterfaceError" in names and "closed" in str(error))


def _renderers(out: TextIO) -> list[Processor]:
    if out.isatty():
        return [remove_secrets, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [
        structlog.processors.format_exc_info,
        remove_secrets,
        structlog.processors.JSONRenderer(serializer=_encode_json),
    ]


def _encode_json(event: EventDict, **_: Any) -> str:
    return json.encode(event, enc_hook=repr).decode()


def _hide_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return SECRETS.sub(lambda match: f"{match[1]}:…" if match[1] else "…", value)
    if isinstance(value, BaseException):
        return _hide_secrets(repr(value))
    return value
