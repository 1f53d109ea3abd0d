"""The registration of this agent's versions with the gateways, and its heartbeat."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, Protocol

import structlog
from msgspec import json, structs
from nats.aio.msg import Msg

from runners.errors import BrokerTimeout
from schemas import subjects
from schemas.models import Heartbeat, Registration, VersionInfo

log = structlog.stdlib.get_logger()

HEARTBEAT_SECONDS: Final = 2.0
MAX_REGISTRATION_BYTES: Final = subjects.MAX_MESSAGE_BYTES - 10_000


class StatusBroker(Protocol):
    """The connection to the gateways."""

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None: ...
    @property
    def is_up(self) -> bool: ...


class StatusSource(Protocol):
    """The source of the status that a heartbeat carries."""

    def read(self) -> Heartbeat: ...


class HeartbeatSender:
    """The messages by which gateways know this agent: its versions, and its status every few seconds.

    It owns the list of registered versions. Versions are many, so a heartbeat carries them only after a registration
    and when they have changed.
    """

    def __init__(
        self,
        connection: StatusBroker,
        versions: Iterable[VersionInfo],
        status: StatusSource,
        changed: asyncio.Event,
        *,
        agent: str,
    ) -> None:
        """Setting `changed` has it send the status at once."""
        self._connection = connection
        self._versions = list(versions)
        self._status = status
        self._changed = changed
        self._agent = agent
        self._sent_edition = ""
        self._registration_due = asyncio.Event()

    def add_version(self, version: VersionInfo) -> None:
        """Register one more version soon."""
        self._versions.append(version)
        self.request_registration()

    def request_registration(self) -> None:
        """Have all versions registered soon."""
        self._registration_due.set()

    async def keep_registered(self) -> None:
        """Register all versions whenever that is due, until canceled."""
        while True:
            await self._registration_due.wait()
            self._registration_due.clear()
            await self.register()

    async def register(self) -> None:
        """Send all versions, in as many messages as they need, and then the status."""
        for part in split_registrations(self._versions):
            await self._publish(subjects.REGISTRATIONS, json.encode(Registration(agent=self._agent, offers=part)))
        self._sent_edition = ""
        await self._send_status()

    async def receive_hello(self, msg: Msg) -> None:
        """Answer a gateway that has just started."""
        await self.register()

    async def receive_ping(self, msg: Msg) -> None:
        """Answer with this agent's name."""
        if msg.reply:
            await self._publish(msg.reply, self._agent.encode())

    async def run(self) -> None:
        """Send the status regularly, and at once when it has changed, until canceled."""
        while True:
            self._changed.clear()
            if self._connection.is_up:
                await self._send_status()
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._changed.wait()

    async def _send_status(self) -> None:
        status = self._status.read()
        if status.edition == self._sent_edition:
            status = structs.replace(status, versions=[])
        self._sent_edition = status.edition
        await self._publish(subjects.HEARTBEATS, json.encode(status))

    async def _publish(self, subject: str, payload: bytes) -> None:
        try:
            await self._connection.publish(subject, payload)
        except BrokerTimeout as error:
            log.debug("a message was not published", subject=subject, reason=str(error))


def split_registrations(versions: list[VersionInfo]) -> list[list[VersionInfo]]:
    """Split versions into groups that fit into a message; one that is too large for any is logged and left out."""
    groups: list[list[VersionInfo]] = [[]]
    size = 0
    for version in versions:
        length = len(json.encode(version)) + 1
        if length > MAX_REGISTRATION_BYTES:
            name = f"{version.owner}/{version.name}"
            log.error("the schema of a model is too large for a message; it is not registered", model=name)
            continue
        if size + length > MAX_REGISTRATION_BYTES and groups[-1]:
            groups.append([])
            size = 0
        groups[-1].append(version)
        size += length
    return groups
