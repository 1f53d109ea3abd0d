import re

import pytest

from runners import units


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("800000000", 800_000_000),
        ("2GB", 2 * 10**9),
        ("512MiB", 512 * 2**20),
        ("1.5g", 1_500_000_000),
        (" 3 tb ", 3 * 10**12),
        ("64K", 64_000),
    ],
)
def test_an_amount_is_read_as_people_write_it(text: str, size: int) -> None:
    assert units.parse_bytes(text) == size
    assert re.search(units.PATTERN, text)


@pytest.mark.parametrize("text", ["", "much", "2 PB", "-1", "1e9", "GB"])
def test_an_invalid_amount_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 2GB"):
        units.parse_bytes(text)
    assert not re.search(units.PATTERN, text)


def test_an_amount_is_formatted_in_the_unit_that_fits() -> None:
    assert [units.format_bytes(size) for size in (450_000_000, 9_900_000_000, 24_000_000_000)] == [
        "450 MB",
        "9900 MB",
        "24.0 GB",
    ]
