"""The kinds of hardware that deployments can ask for: those of present runners, and those configured."""

from collections.abc import Iterable

from schemas.models import Heartbeat


def hardware_kinds(configured: str, heartbeats: Iterable[Heartbeat]) -> dict[str, str]:
    """Return the name of each kind of hardware by its SKU, in order.

    `configured` is like `cpu=CPU,gpu-t4=Nvidia T4 GPU`.
    """
    names = {heartbeat.hardware: _display_name(heartbeat) for heartbeat in heartbeats if heartbeat.hardware}
    for item in configured.split(","):
        sku, _, name = item.strip().partition("=")
        if sku.strip():
            names[sku.strip()] = name.strip() or sku.strip()
    return dict(sorted(names.items()))


def _display_name(heartbeat: Heartbeat) -> str:
    """Return the name of a runner's hardware, as the maker of its devices calls it."""
    if heartbeat.hardware == "cpu" or not heartbeat.devices:
        return heartbeat.hardware.upper()
    count = len(heartbeat.devices)
    return heartbeat.devices[0].kind + (f" ({count}x)" if count > 1 else "")
