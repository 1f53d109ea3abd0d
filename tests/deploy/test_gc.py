"""`samovar gc`, as a user types it, against a fake gateway."""

import pytest

from tests.deploy.command_line import samovar
from tests.deploy.fake_gateway import FakeGateway


@pytest.mark.parametrize(("arguments", "freed"), [((), "could be freed"), (("--delete",), "freed")])
def test_unused_files_are_listed_with_size_and_reason(
    gateway: FakeGateway, arguments: tuple[str, ...], freed: str
) -> None:
    result = samovar(gateway, "gc", *arguments)
    assert result.stdout == "packs/x.tar\t1500\tno version is made of it\n"
    assert result.stderr.startswith(f"samovar: 1 file, 1.5 kB {freed}")
    assert gateway.request_lines == [f"{'POST' if arguments else 'GET'} /v1/gc"]
