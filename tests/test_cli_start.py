"""``bbs -config FILE`` before it is a server (spec: config.md §1, §6)."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked_starts import ForkedStarts


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        pytest.param(("-h",), 0, "Usage of bbs", id="help"),
        pytest.param(("-nope",), 2, "Usage of bbs", id="an unknown flag"),
        pytest.param(("-config",), 2, "flag needs an argument", id="no value"),
        pytest.param(("-config", "absent"), 2, "open absent: no such file or directory", id="no file"),
        pytest.param(("--",), 2, "open : no such file or directory", id="no flag"),
        pytest.param(("-config", "truncated"), 2, "unexpected EOF", id="no JSON"),
        pytest.param(("-config", "typed"), 2, "uuid must be a text", id="a wrong type"),
        pytest.param(("-config", "empty"), 2, "unknown log level: ", id="no log level"),
    ],
)
def test_a_start_that_must_fail_says_nothing_on_stdout(
    starts: ForkedStarts, arguments: tuple[str, ...], exit_code: int, says: str, tmp_path: Path
) -> None:
    for name, content in (("truncated", '{"uuid":'), ("typed", '{"uuid":1}'), ("empty", "{}")):
        (tmp_path / name).write_text(content)

    result = starts.start(*arguments, cwd=tmp_path)

    assert result.exit_code == exit_code
    assert says in result.stderr
    assert not result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_before_it_serves_a_signal_just_ends_it(number: signal.Signals, tmp_path: Path) -> None:
    """A pipe that nobody writes to holds the process where it reads its configuration."""
    pipe = tmp_path / "config"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "bbs", "-config", str(pipe)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
        pipe.open("w"),  # succeeds once the process has opened its end
    ):
        process.send_signal(number)
        out, err = process.communicate(timeout=60)

    assert process.returncode == -number
    assert not out
    assert not err
