"""No line is longer than its bound, whatever a client sends and whatever the configuration says."""

import io
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bbs.log import LagerSink, Level, Logger, cut, data_processors, root_logger
from bbs.log.bounds import LINE_CHARACTERS_MAX, TEXT_CHARACTERS_MAX, bounded
from bbs.log.redaction import CUT_MARK
from bbs.log.rendering import data_json

LONG = "x" * (TEXT_CHARACTERS_MAX + 1)
LINE_WITH_ALL_MAX = LINE_CHARACTERS_MAX + 1_000
"""With the punctuation and the keys at the top, which are ours."""


def written(data: dict[str, object], **configuration: Any) -> dict[str, Any]:
    """The data of one line, through a sink as the configuration has it."""
    out = io.BytesIO()
    log = root_logger("bbs", LagerSink(out, processors=data_processors(**configuration)))
    log.session("request").info("said", data)
    assert len(out.getvalue().decode()) < LINE_WITH_ALL_MAX
    line: dict[str, Any] = json.loads(out.getvalue())["data"]
    return line


def test_a_text_of_the_longest_length_stays_whole() -> None:
    assert written({"text": LONG[1:]})["text"] == LONG[1:]


@pytest.mark.parametrize("configuration", [{}, {"max_data_string_length": 10**9}, {"redact_secrets": True}])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param({"text": LONG}, id="a text"),
        pytest.param({"a": {"b": [{"text": LONG}]}}, id="a text deep inside"),
        pytest.param({"error": ValueError(LONG * 1_000)}, id="an error"),
        pytest.param({"text": "&" * TEXT_CHARACTERS_MAX}, id="a text that grows in JSON"),
        pytest.param({"text": "\0" * 10**6}, id="control characters"),
        pytest.param({"guids": ["guid"] * 10**5}, id="a list"),
        pytest.param({"numbers": list(range(10**5))}, id="numbers"),
        pytest.param({"tags": {f"tag{number}": number for number in range(10**5)}}, id="an object"),
        pytest.param({"lists": [[]] * 10**5}, id="many of nothing"),
        pytest.param({"a": {LONG: 1}}, id="a key"),
        pytest.param({f"text{number}": LONG for number in range(20)}, id="many texts"),
        pytest.param({"bytes": b"\xff" * 10**6}, id="bytes"),
    ],
)
def test_what_is_longer_is_cut_and_marked(data: dict[str, object], configuration: dict[str, Any]) -> None:
    line = written(data, **configuration)

    assert set(line) == {*data, "session"}
    assert line["session"] == "1"
    assert CUT_MARK in json.dumps(line)


def test_single_values_come_before_lists() -> None:
    line = written({"a": ["guid"] * 10**5, "error": "y" * 1_000})

    assert line["error"] == "y" * 1_000
    assert line["a"][-1] == CUT_MARK


def test_data_without_a_json_form_is_cut_too() -> None:
    assert len(data_json({"text": LONG * 100, "no json": object()})) < LINE_WITH_ALL_MAX


def test_lines_that_share_their_data_are_cut() -> None:
    out = io.BytesIO()
    log = Logger(LagerSink(out), source="bbs", message_prefix="", session_path="1", data={"text": LONG * 9})

    log.emitter()(Level.INFO, "said")

    assert len(out.getvalue()) < LINE_WITH_ALL_MAX


@pytest.mark.parametrize(
    ("text", "characters_max", "expected"),
    [
        ("abc", 3, "abc"),
        ("a" * 20, 19, "a" * 7 + CUT_MARK),
        ("a" * 20, 12, CUT_MARK),
        ("a" * 20, 0, CUT_MARK),
    ],
)
def test_a_cut_text(text: str, characters_max: int, expected: str) -> None:
    assert cut(text, characters_max) == expected


TEXTS = st.builds(
    lambda text, times: text * times, st.text(max_size=9), st.sampled_from([1, 1, 1_000, 9_000])
)
SINGLES = TEXTS | st.integers() | st.booleans() | st.none()
LISTS = st.builds(
    lambda some, times: some * times,
    st.lists(st.text(max_size=9) | st.integers(), max_size=3),
    st.sampled_from([1, 1, 5_000]),
)
VALUES: st.SearchStrategy[Any] = (
    SINGLES | LISTS | st.dictionaries(st.text(max_size=9), SINGLES | LISTS, max_size=3)
)


@given(st.dictionaries(st.text(max_size=10), VALUES, max_size=5))
@example({"": [-(10**22)] * 5000})
def test_any_data_fits(data: dict[str, Any]) -> None:
    assert len(data_json(data)) < LINE_WITH_ALL_MAX
    if len(data_json(data)) <= TEXT_CHARACTERS_MAX:
        return
    assert bounded(data).keys() == data.keys()
