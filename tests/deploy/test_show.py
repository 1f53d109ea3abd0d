import pytest

from deploy.cli.terminal.output import MUCH, Transfer, amount, lasting


@pytest.mark.parametrize(
    ("size", "read"),
    [
        pytest.param(0, "0 B", id="nothing"),
        pytest.param(999, "999 B", id="bytes"),
        pytest.param(1_500, "1.5 kB", id="kilobytes"),
        pytest.param(999_900_000, "999.9 MB", id="megabytes"),
        pytest.param(50_000_000_000, "50.0 GB", id="gigabytes"),
        pytest.param(5_000_000_000_000, "5000.0 GB", id="more"),
    ],
)
def test_bytes_are_shown_as_people_read_them(size: int, read: str) -> None:
    assert amount(size) == read


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.2, "0 s"), (59, "59 s"), (60, "1 min"), (7_199, "1 h"), (86_400 * 3, "3 d")]
)
def test_times_are_told_in_their_largest_unit(seconds: float, told: str) -> None:
    assert lasting(seconds) == told


def test_in_a_pipe_a_large_upload_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with Transfer("uploading", MUCH) as transfer:
        assert b"".join(transfer.passing([b"x" * (MUCH // 4)] * 4)) == b"x" * MUCH
    assert capsys.readouterr().err == "".join(
        f"samovar: {said}\n" for said in ("uploading, 50.0 MB", "25 % uploaded", "50 % uploaded", "75 % uploaded")
    )


def test_in_a_pipe_a_small_upload_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Transfer("uploading", 2_000) as transfer:
        assert list(transfer.passing([b"x" * 1_000] * 2)) == [b"x" * 1_000] * 2
    assert capsys.readouterr().err == "samovar: uploading, 2.0 kB\n"
