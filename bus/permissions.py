"""The subjects of JetStream that a user has to be allowed to publish to, by what it does with a stream."""

from typing import Final

EVERYTHING: Final = ("$JS.API.>",)
ACCOUNT_INFO: Final = ("$JS.API.INFO",)


def create_and_read(stream: str) -> tuple[str, ...]:
    """Return the subjects for creating a stream, describing it, and reading its messages."""
    calls = ("STREAM.CREATE", "STREAM.UPDATE", "STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET")
    return (*(f"$JS.API.{call}.{stream}" for call in calls), f"$JS.API.DIRECT.GET.{stream}.>")


def consume(stream: str) -> tuple[str, ...]:
    """Return the subjects for creating consumers of a stream, and for pulling and acknowledging their messages."""
    return (
        f"$JS.API.CONSUMER.*.{stream}",
        f"$JS.API.CONSUMER.*.{stream}.>",
        f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.>",
        *acknowledge(stream),
    )


def acknowledge(stream: str) -> tuple[str, ...]:
    """Return the subjects for acknowledging messages of a stream."""
    return (f"$JS.ACK.{stream}.>",)


def purge(stream: str) -> tuple[str, ...]:
    """Return the subjects for deleting messages of a stream."""
    return (f"$JS.API.STREAM.PURGE.{stream}",)
