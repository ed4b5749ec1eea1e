"""What the harness does when it can't measure, or is interrupted: a line that says what to do, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import trustme

from perf.beds import Bed, ServerSpec, laid_bed
from perf.load import Credentials
from perf.reach import NoAnswer, require_answer
from perf.server import ServerFailed

INTERRUPTED: Final = 130
STOP_MAX_S: Final = 60

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    with laid_bed(ServerSpec.parse("own")) as bed:
        yield bed


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A certificate, its key and its authority, in one file, that nobody here knows."""
    authority = trustme.CA()
    file = tmp_path / "stranger.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(file)
    authority.cert_pem.write_to_path(file, append=True)
    return file


def test_a_server_that_answers_is_found_to(bed: Bed) -> None:
    require_answer("b", bed.credentials)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("ca", r"its certificate is refused \(.*\): ca= must have its authority"),
        ("cert", r"our certificate is refused \(.*\): give cert= and key="),
    ],
)
def test_a_certificate_that_is_refused_is_told_of(
    bed: Bed, stranger: Path, option: str, expected: str
) -> None:
    known = bed.credentials
    files = {"ca": known.ca, "cert": known.cert, "key": known.key} | {option: stranger}
    if option == "cert":
        files["key"] = stranger

    with pytest.raises(NoAnswer, match=expected) as refused:
        require_answer("b", Credentials(url=known.url, **files))

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "files", "expected"),
    [
        ("https://127.0.0.1:1", {}, "Connection refused: check host and port"),
        ("http://127.0.0.1:1", {"ca": "/nowhere"}, "ca=/nowhere: there is no such file"),
        ("https://127.0.0.1:1", {"cert": __file__}, "cert= and key= go together"),
        ("https://127.0.0.1:1", {"ca": __file__}, "cannot be used"),
    ],
)
def test_what_cannot_be_reached_is_told_of(url: str, files: dict[str, str], expected: str) -> None:
    paths = {name: Path(files[name]) if name in files else None for name in ("ca", "cert", "key")}

    with pytest.raises(NoAnswer, match=expected):
        require_answer("b", Credentials(url=url, **paths))


def test_no_certificate_where_one_is_wanted_is_told_of(bed: Bed) -> None:
    with pytest.raises(NoAnswer, match="give cert= and key="):
        require_answer("b", Credentials(url=bed.credentials.url, ca=bed.credentials.ca, cert=None, key=None))


def test_a_flag_that_the_server_does_not_know_is_the_servers_to_refuse() -> None:
    with (
        pytest.raises(ServerFailed, match="unrecognized arguments: --nonsense"),
        laid_bed(ServerSpec.parse("own --nonsense")),
    ):
        pass


def test_an_interrupted_run_keeps_what_it_measured_and_leaves_no_process(tmp_path: Path) -> None:
    """As from a terminal: the signal reaches every process of the foreground group."""
    figures = tmp_path / "figures.json"
    scenarios = ("--scenario", "tasks", "--scenario", "churn")
    sizes = ("--lrps", "20", "--connections", "2", "--rounds", "1", "--turn-s", "600")
    harness = subprocess.Popen(
        [sys.executable, "-m", "perf", "compare", *scenarios, *sizes, "--json", str(figures)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert harness.stderr is not None
    for line in harness.stderr:
        if "churn: warming up" in line:
            break
    os.killpg(harness.pid, signal.SIGINT)
    printed, complaints = harness.communicate(timeout=STOP_MAX_S)

    assert harness.returncode == INTERRUPTED
    assert "Traceback" not in complaints
    assert "TROUBLE: interrupted" in printed
    compared = json.loads(figures.read_text())["compare"]
    assert [each["scenario"] for each in compared["scenarios"]] == ["tasks"]
    assert compared["interrupted"]
    assert processes_of_session(harness.pid) == []


def processes_of_session(session: int) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            stat = (entry / "stat").read_text() if entry.name.isdigit() else ""
        except OSError:
            continue  # it has ended meanwhile
        if stat and int(stat.rpartition(")")[2].split()[3]) == session:
            found.append(stat)
    return found
