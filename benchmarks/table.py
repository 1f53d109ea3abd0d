"""What a measurement was taken on, as a table beneath it."""

from typing import Final

from rich.table import Table

from benchmarks.machine import Machine

QUIET: Final = 0.5


def setting(machine: Machine) -> Table:
    table = Table("setting", "value")
    table.add_row("machine", f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib} GiB, {machine.system}")
    loud = "  (not quiet: judge no times by this)" if machine.busy > QUIET else ""
    table.add_row("load average before", f"{machine.busy}{loud}")
    table.add_row("Python", machine.python)
    table.add_row("libraries", ", ".join(f"{name} {version}" for name, version in machine.libraries.items()))
    table.add_row("commit", machine.commit)
    return table
