"""The kinds of hardware that deployments can ask for: those of the runners that are there, and those configured."""

from collections.abc import Iterable

from schemas.models import Presence


def kinds(configured: str, present: Iterable[Presence]) -> dict[str, str]:
    """What each is called, by SKU, in order; `configured` is like `cpu=CPU,gpu-t4=Nvidia T4 GPU`."""
    found = {presence.hardware: _called(presence) for presence in present if presence.hardware}
    for item in configured.split(","):
        sku, _, name = item.strip().partition("=")
        if sku.strip():
            found[sku.strip()] = name.strip() or sku.strip()
    return dict(sorted(found.items()))


def _called(presence: Presence) -> str:
    """As the maker of its devices calls them."""
    if presence.hardware == "cpu" or not presence.devices:
        return presence.hardware.upper()
    count = len(presence.devices)
    return presence.devices[0].kind + (f" ({count}x)" if count > 1 else "")
