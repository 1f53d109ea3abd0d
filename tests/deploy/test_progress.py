import pytest

from deploy.cli.terminal.progress import MIN_REPORTED_BYTES, UploadProgress


def test_in_a_pipe_a_large_upload_reports_percentages(capsys: pytest.CaptureFixture[str]) -> None:
    with UploadProgress("uploading", MIN_REPORTED_BYTES) as upload:
        assert b"".join(upload.track([b"x" * (MIN_REPORTED_BYTES // 4)] * 4)) == b"x" * MIN_REPORTED_BYTES
    assert capsys.readouterr().err == "".join(
        f"samovar: {line}\n" for line in ("uploading, 50.0 MB", "25 % uploaded", "50 % uploaded", "75 % uploaded")
    )


def test_in_a_pipe_a_small_upload_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with UploadProgress("uploading", 2_000) as upload:
        assert list(upload.track([b"x" * 1_000] * 2)) == [b"x" * 1_000] * 2
    assert capsys.readouterr().err == "samovar: uploading, 2.0 kB\n"
