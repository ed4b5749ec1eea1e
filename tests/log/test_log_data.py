"""Truncation and redaction. spec: security.md §6, metrics-and-logs.md §3, config.md §2.5"""

import io
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.log import (
    LagerSink,
    Level,
    Logger,
    PatternInvalid,
    Redaction,
    TimeFormat,
    Truncation,
    data_processors,
    root_logger,
)
from bbs.log.redaction import compiled
from tests.log_lines import Lines

M = "*REDACTED*"
AWS = "AKIA" + "A1" * 8
PRIVATE_KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("data", "redacted"),
    [
        ({"password": "x"}, {"password": M}),
        ({"Passphrase": "x", "dbpwd": 1, "Pwd": None}, {"Passphrase": M, "dbpwd": M, "Pwd": M}),
        ({"compass": ["n"], "passenger": {"a": 1}}, {"compass": M, "passenger": M}),
        ({"PASSWORD": "x", "PWD": "y"}, {"PASSWORD": "x", "PWD": "y"}),
        ({"a": {"b": [{"pass": "x"}, "y"]}}, {"a": {"b": [{"pass": M}, "y"]}}),
        ({"a": AWS}, {"a": M}),
        ({"a": f"see {AWS}, please"}, {"a": M}),
        ({"a": AWS.lower()}, {"a": AWS.lower()}),
        ({"a": [1, f"x{AWS}", ["y", AWS]]}, {"a": [1, M, ["y", M]]}),
        ({AWS: "key"}, {AWS: "key"}),
        ({"a": "SECRET_KEY => " + "A1/+" * 10}, {"a": M}),
        ({"a": "KEY: 'short'"}, {"a": "KEY: 'short'"}),
        ({"a": "$1$salt$" + "a1" * 11}, {"a": "$1$salt$" + "a1" * 11}),
        ({"a": "$1$SALT$" + "A1" * 11}, {"a": M}),
        ({"a": "$5$SALT$" + "A" * 43}, {"a": M}),
        ({"a": "$6$SALT$" + "A" * 86}, {"a": M}),
        ({"a": PRIVATE_KEY}, {"a": M}),
        ({"a": "-----BEGIN\nPRIVATE KEY-----"}, {"a": "-----BEGIN\nPRIVATE KEY-----"}),
        ({"a": 2**63 + 1, "b": 0.5, "c": True, "d": None}, {"a": 2**63 + 1, "b": 0.5, "c": True, "d": None}),
        ({"a": ValueError(AWS)}, {"a": M}),
    ],
)
def test_what_is_masked(data: dict[str, object], redacted: dict[str, object]) -> None:
    assert Redaction().apply(data) == redacted


def test_patterns_replace_the_default_ones_but_not_those_of_keys() -> None:
    redaction = Redaction(["tok_[0-9]+", "^exact$"])

    assert redaction.apply({"a": "tok_1", "b": AWS, "c": "exact", "d": "exactly", "pwd": "x"}) == {
        "a": M, "b": AWS, "c": M, "d": "exactly", "pwd": M
    }  # fmt: skip
    assert Redaction([]).apply({"a": AWS, "pwd": "x"}) == {"a": AWS, "pwd": M}


@pytest.mark.parametrize(
    ("pattern", "matches", "does_not_match"),
    [
        (r"^a$", "a", "a\n"),
        (r"^a\z", "a", "a\n"),
        (r"(?m)^a$", "b\na\nc", "ba"),
        (r"[[:digit:]]+x", "12x", "x"),
        (r"[^[:alpha:]_]", "a1", "a_b"),
        (r"\d", "1", "\u0661"),
        (r"\w", "a", "é"),
        (r"(?i)secret", "SECRET", "s"),
        (r"[]x]", "]", "y"),
        (r"[$]", "$", "x"),
        (r"\$", "$", "x"),
        (r"(?:a|b)+?c", "abc", "ab"),
        (r"(?P<name>x)", "x", "y"),
    ],
)
def test_patterns_mean_what_re2_means(pattern: str, matches: str, does_not_match: str) -> None:
    found = compiled(pattern)

    assert found.search(matches)
    assert not found.search(does_not_match)


@pytest.mark.parametrize(
    "pattern",
    ["(", "[", "a**", "*", r"(?=x)", r"(?!x)", r"(?<=x)", r"(?<!x)", r"(a)\1", "a++", "(?>a)", "(?P=a)",
     r"[[:^alpha:]]", r"[[:nonsense:]]", r"\pL", "a{2,1}"],
)  # fmt: skip
def test_what_re2_lacks_or_python_lacks_is_refused(pattern: str) -> None:
    with pytest.raises(PatternInvalid, match=re.escape(f"`{pattern}`")):
        compiled(pattern)


@pytest.mark.parametrize(
    ("bytes_max", "text", "cut"),
    [
        (20, "a" * 20, "a" * 20),
        (20, "a" * 21, "a" * 8 + "-(truncated)"),
        (12, "a" * 13, "-(truncated)"),
        (20, "é" * 10, "é" * 10),
        (20, "é" * 11, "é" * 4 + "-(truncated)"),
        (15, "éé" * 5, "é-(truncated)"),  # 3 bytes are left, and é is 2
        (11, "a" * 12, "a" * 11),
        (11, "a" * 11, "a" * 11),
        (1, "abc", "a"),
        (1, "éa", ""),
    ],
)
def test_long_texts_are_cut(bytes_max: int, text: str, cut: str) -> None:
    assert Truncation(bytes_max).apply({"a": text, "b": [text, {"c": text}], text: 1}) == {
        "a": cut, "b": [cut, {"c": cut}], text: 1
    }  # fmt: skip


@given(st.integers(1, 40), st.text())
def test_what_is_cut_fits(bytes_max: int, text: str) -> None:
    (cut,) = Truncation(bytes_max).apply({"a": text}).values()

    assert isinstance(cut, str)
    assert len(cut.encode()) <= bytes_max
    assert cut == text or len(text.encode()) > bytes_max


def written(processors: list[Any], data: dict[str, object]) -> dict[str, Any]:
    out = io.BytesIO()
    log = root_logger("bbs", LagerSink(out, processors=processors))
    log.info("x", data)
    session = log.descendant("s", "7", data)
    session.emitter()(Level.INFO, session.message("y"))
    first, second = (json.loads(line)["data"] for line in out.getvalue().splitlines())
    assert second.pop("session") == "7"
    assert first == second
    assert isinstance(first, dict)
    return first


@pytest.mark.parametrize(
    ("options", "data", "result"),
    [
        ({}, {"pwd": "x", "a": AWS}, {"pwd": "x", "a": AWS}),
        ({"redact_patterns": ["."]}, {"pwd": "x"}, {"pwd": "x"}),
        ({"redact_secrets": True}, {"pwd": "x", "a": AWS}, {"pwd": M, "a": M}),
        ({"redact_secrets": True, "redact_patterns": []}, {"pwd": "x", "a": AWS}, {"pwd": M, "a": AWS}),
        ({"max_data_string_length": 15}, {"a": AWS}, {"a": "AKI-(truncated)"}),
        # Cut first, so that what is left of a secret looks like none.
        (
            {"max_data_string_length": 15, "redact_secrets": True},
            {"a": AWS, "pwd": AWS},
            {"a": "AKI-(truncated)", "pwd": M},
        ),
        ({"max_data_string_length": -1}, {"a": "x" * 99}, {"a": "x" * 99}),
    ],
)
def test_the_configuration_decides(
    options: dict[str, Any], data: dict[str, object], result: dict[str, object]
) -> None:
    given_data = dict(data)

    assert written(data_processors(**options), given_data) == result
    assert given_data == data


def test_a_bad_pattern_is_found_at_once() -> None:
    with pytest.raises(PatternInvalid):
        data_processors(redact_secrets=True, redact_patterns=["("])


def test_messages_and_errors_are_treated_as_what_they_are() -> None:
    out = io.BytesIO()
    log = root_logger(AWS, LagerSink(out, processors=data_processors(redact_secrets=True)))

    log.error(AWS, error=AWS)

    line = json.loads(out.getvalue())
    assert (line["source"], line["message"], line["data"]) == (AWS, f"{AWS}.{AWS}", {"error": M})


@pytest.mark.parametrize("word", ["debug", "info", "error", "fatal"])
def test_levels_by_name(word: str) -> None:
    assert Level.from_config(word).name == word.upper()


@pytest.mark.parametrize("word", ["", "INFO", "warn", "silent", "1"])
def test_other_levels_are_unknown(word: str) -> None:
    with pytest.raises(ValueError, match=f"^unknown log level: {word}$"):
        Level.from_config(word)


@pytest.mark.parametrize(
    ("value", "time_format"),
    [
        ("unix-epoch", TimeFormat.UNIX_EPOCH),
        ("0", TimeFormat.UNIX_EPOCH),
        (0, TimeFormat.UNIX_EPOCH),
        ("rfc3339", TimeFormat.RFC3339),
        ("1", TimeFormat.RFC3339),
        (1, TimeFormat.RFC3339),
    ],
)
def test_time_formats(value: str | int, time_format: TimeFormat) -> None:
    assert TimeFormat.from_config(value) is time_format


@pytest.mark.parametrize("value", ["", "RFC3339", "2", 2])
def test_other_time_formats_are_invalid(value: str | int) -> None:
    with pytest.raises(ValueError, match=f'^invalid TimeFormat: "{value}"$'):
        TimeFormat.from_config(value)


def logger(out: Lines, **options: Any) -> Logger:
    return root_logger("bbs", LagerSink(out, now_ns=lambda: 1795466755_702186515, **options))


@pytest.mark.parametrize("time_format", TimeFormat)
def test_an_emitter_writes_what_its_session_would(time_format: TimeFormat) -> None:
    fast, slow = Lines(), Lines()
    session = logger(fast, time_format=time_format).descendant("a.b", "4.1", {"x": "<"})
    emit = session.emitter()
    twin = logger(slow, time_format=time_format)
    for _ in range(3):
        twin.next_number()
    twin = twin.session("a").session("b", {"x": "<"})

    emit(Level.INFO, session.message("starting"))
    emit(Level.ERROR, session.message("complete"))
    twin.info("starting")
    twin.error("complete")

    assert fast.writes == slow.writes
    assert len(fast.writes) == 2


def test_an_emitter_leaves_other_processors_their_say() -> None:
    out = Lines()

    def stamp(sink: object, method: str, event: Any) -> Any:
        event["data"]["stamp"] = event["event"]
        return event

    session = logger(out, processors=[stamp]).descendant("a", "1", {})
    emit = session.emitter()
    emit(Level.INFO, session.message("x"))
    emit(Level.INFO, session.message("y"))

    assert [json.loads(line)["data"]["stamp"] for line in out.writes] == ["bbs.a.x", "bbs.a.y"]


def test_numbers_taken_are_not_given_to_sessions() -> None:
    out = Lines()
    log = logger(out)

    assert log.next_number() == 1
    log.session("a").info("x")

    assert json.loads(out.writes[0])["data"] == {"session": "2"}
