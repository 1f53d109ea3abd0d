"""The allocator of servers: each process that serves sets it by itself, a worker by code of its own."""

import subprocess
import sys

from deploy import allocator
from runners.worker.devices import allocator as worker_allocator


def test_servers_and_workers_use_the_same_settings():
    ours = (allocator.TRIM_THRESHOLD, allocator.MMAP_THRESHOLD, allocator.MAX_THRESHOLD_BYTES)
    workers = (
        worker_allocator._TRIM_THRESHOLD,
        worker_allocator._MMAP_THRESHOLD,
        worker_allocator._MAX_THRESHOLD_BYTES,
    )
    assert ours == workers


def test_a_server_does_not_import_the_worker_for_it():
    code = "import sys, deploy.event_loop; sys.exit(any(name.split('.')[0] == 'runners' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
