import io
import logging
from collections.abc import Generator

import asyncpg
import pytest
import structlog
from msgspec import json

from deploy.logs import configure_logging

SECRET = "smv_" + "a1B2" * 9


@pytest.fixture
def written() -> Generator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    configure_logging(stream=out)
    yield out
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


def test_a_line_is_json_with_its_level_and_fields(written: io.StringIO) -> None:
    structlog.get_logger().info("loaded", model="a/b")
    line = json.decode(written.getvalue())
    assert (line["event"], line["level"], line["model"]) == ("loaded", "info", "a/b")


def test_the_standard_library_logs_the_same_way(written: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").warning("port %d", 80)
    line = json.decode(written.getvalue())
    assert (line["event"], line["level"], line["logger"]) == ("port 80", "warning", "uvicorn.error")


def test_secrets_are_replaced_everywhere(written: io.StringIO) -> None:
    log = structlog.get_logger()
    log.info(f"Bearer {SECRET}", token=SECRET, url=f"postgresql://samovar:{SECRET}@/samovar")
    logging.getLogger("x").error("nats://runner:%s@127.0.0.1:4222", SECRET)
    try:
        raise ConnectionError(f"nats://runner:{SECRET}@127.0.0.1")
    except ConnectionError:
        log.exception("lost")
    assert SECRET not in written.getvalue()
    assert "postgresql://samovar:…@/samovar" in written.getvalue()


@pytest.mark.parametrize(
    ("logger", "error", "traced"),
    [
        ("asyncpg.pool", asyncpg.CannotConnectNowError("the database system is starting up"), False),
        ("asyncpg.pool", FileNotFoundError(2, "No such file or directory"), False),
        ("asyncio", asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"), False),
        ("asyncio", asyncpg.InterfaceError("connection is closed"), False),
        ("asyncio", asyncpg.InterfaceError("another operation is in progress"), True),
        ("asyncio", ValueError("a mistake of ours"), True),
        ("samovar.anything", ConnectionResetError("reset"), True),
    ],
)
def test_a_lost_connection_is_one_warning(written: io.StringIO, logger: str, error: Exception, *, traced: bool) -> None:
    logging.getLogger(logger).error("Future exception was never retrieved\nfuture: <Future>", exc_info=error)
    line = json.decode(written.getvalue())
    assert ("exception" in line) == traced
    if not traced:
        assert line["level"] == "warning"
        assert line["event"] == f"Future exception was never retrieved: {error}"
