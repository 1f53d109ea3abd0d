"""What an agent says of its host: devices, memory, and who is there."""

import socket
from datetime import UTC, datetime, timedelta
from typing import Final

from runners.instances.monitor import Upkeep
from runners.instances.pool import Pool
from runners.instances.slot import Resident
from runners.placement import devices
from runners.placement.planner import Host
from runners.settings import Settings
from schemas import subjects
from schemas.models import Device, Presence, State
from schemas.models import Resident as Told

LONGEST: Final = 500  # characters of a reason


def taken(settings: Settings, host: Host, pool: Pool, upkeep: Upkeep) -> Presence:
    residents = pool.residents
    return Presence(
        agent=settings.agent,
        host=socket.gethostname(),
        pool=settings.pool,
        versions=pool.versions,
        edition=pool.edition,
        warm=pool.warm,
        starting={each.service: each.phase for each in residents if _state(each) == "starting" and not each.leaving},
        failed={service: reason[:LONGEST] for service, reason in pool.failed.items()},
        hardware=devices.hardware(host, settings),
        memory=host.limit,
        used=upkeep.used,
        devices=_devices(host, residents),
        residents=[_told(each) for each in residents if not each.leaving],
        counts=pool.counts,
    )


def _devices(host: Host, residents: list[Resident]) -> list[Device]:
    hot = [each.seat.device for each in residents if each.seat is not None and not each.parked]
    return [
        Device(
            name=device.name,
            kind=device.label,
            memory=device.memory,
            planned=sum(given.get(device.name, 0) for given in hot),
            cores=len(device.cores),
        )
        for device in host.devices
    ]


def _told(resident: Resident) -> Told:
    keeper, seat, state = resident.keeper, resident.seat, _state(resident)
    return Told(
        version=resident.version,
        release=subjects.pool_of(resident.service),
        model=keeper.model.name if keeper is not None else "",
        number=resident.key[1],
        state=state,
        phase=resident.phase if state == "starting" else None,
        devices=list(seat.device) if seat is not None else [],
        memory=resident.resident,
        planned=seat.host if seat is not None else 0,
        running=keeper.running if keeper is not None else 0,
        queued=keeper.waiting if keeper is not None else 0,
        since=resident.since,
        used_at=datetime.now(UTC) - timedelta(seconds=keeper.idle_for) if keeper is not None and keeper.ready else None,
    )


def _state(resident: Resident) -> State:
    if resident.parked:
        return "parked"
    return "hot" if resident.ready else "starting"
