"""What ``docs/operating.md`` tells operators to look for is what the server says: messages, metrics and alarms."""

import re
from pathlib import Path

import pytest

from tests.packaging.operating_page import (
    OF_EVERYBODY,
    OF_MASTERS,
    PAGE,
    REPOSITORY,
    code_in,
    documented,
    section,
    table_under,
)
from tests.packaging.prometheus_files import alarms

MESSAGES = sorted({name for row in table_under("Messages that matter") for name in code_in(row[0])})
CALLED_BY_ITS_CODE = re.compile(r"[a-z]+(?:-[a-z]+)+")
"""How messages are written, and nothing else in the table of failures."""


def source() -> str:
    return "\n".join(path.read_text() for path in sorted(Path(REPOSITORY / "bbs").rglob("*.py")))


SOURCE = source()


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_that_is_told_of_is_one_that_the_server_writes(message: str) -> None:
    """With the session that is told, if one is."""
    *sessions, action = message.split(".")

    assert is_written(action)
    for session in sessions:
        assert f'session("{session}"' in SOURCE


def is_written(action: str) -> bool:
    """As a whole literal, or as the end of one that begins with another session."""
    return re.search(rf'"(?:[^"\n]*\.)?{re.escape(action)}(?:: [^"\n]*)?"', SOURCE) is not None


def test_the_table_of_failures_names_messages_metrics_and_alarms_that_there_are() -> None:
    metrics = documented(OF_EVERYBODY) | documented(OF_MASTERS)
    told = [name for row in table_under("Failures") for name in code_in(row[2])]

    assert {name for name in told if name.startswith("bbs_")} <= set(metrics)
    assert {name for name in told if re.fullmatch("BBS[A-Z][A-Za-z]+", name)} <= set(alarms())
    assert [name for name in told if CALLED_BY_ITS_CODE.fullmatch(name) and not is_written(name)] == []
    assert len(told) > 40


def test_all_metrics_and_alarms_that_the_page_names_are_there() -> None:
    metrics = documented(OF_EVERYBODY) | documented(OF_MASTERS)
    named = {name.partition("{")[0] for name in code_in(PAGE.read_text())}

    assert {name for name in named if re.fullmatch(r"bbs_[a-z_]+", name)} <= set(metrics)
    assert {name for name in named if re.fullmatch("BBS[A-Z][A-Za-z]+", name)} - {"BBSMasterElected"} == set(
        alarms()
    )


def test_the_tests_that_the_steps_name_are_there() -> None:
    """Each rotation says which test tries it."""
    for heading in ("To change certificates", "To change the encryption key"):
        files = [name for name in code_in(section(heading)) if name.startswith("tests/")]
        assert files
        texts = "".join((REPOSITORY / file).read_text() for file in files)
        for words in re.findall(r"(?<!\*)\*([a-z ]+)\*(?!\*)", section(heading)):
            assert f"_{words.replace(' ', '_')}(" in texts
