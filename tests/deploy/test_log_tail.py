from deploy.local.log_tail import format_line


def test_only_warnings_and_errors_are_shown() -> None:
    line = b'{"event": "died", "level": "warning", "timestamp": "x", "pid": 7}'.decode()
    assert format_line("runner", line, verbose=False) == "runner: warning: died pid=7"
    assert format_line("runner", line.replace("warning", "info"), verbose=False) is None
    assert format_line("runner", line.replace("warning", "info"), verbose=True) == "runner: info: died pid=7"


def test_a_line_that_is_not_json_is_shown() -> None:
    assert format_line("runner", "Fatal Python error", verbose=False) == "runner: Fatal Python error"
