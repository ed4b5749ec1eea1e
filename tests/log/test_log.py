"""spec: metrics-and-logs.md, section 3"""

import json
import re
from collections.abc import MutableMapping
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from bbs.log import Data, LagerSink, Level, Logger, TimeFormat, go_json, null_logger, root_logger
from tests.log_lines import Lines

NOW_NS = 1795466755_702186515  # 2026-11-23T20:45:55Z
LOCK = {"type": "lock", "key": "bbs", "type_code": 1, "owner": "bbs-1"}


@pytest.fixture
def out() -> Lines:
    return Lines()


def logger_to(out: Lines, *, component: str = "bbs", **options: Any) -> Logger:
    return root_logger(component, LagerSink(out, now_ns=lambda: NOW_NS, **options))


def data_of(line: str) -> dict[str, Any]:
    data = json.loads(line)["data"]
    assert isinstance(data, dict)
    return data


def test_the_epoch_format_to_the_byte(out: Lines) -> None:
    log = logger_to(out)
    for _ in range(4):
        log.session("earlier")

    log.session("locket-lock", {"lock": LOCK}).info("started", {"ttl_in_seconds": 15})

    assert out.writes == [
        '{"timestamp":"1795466755.702186515","source":"bbs","message":"bbs.locket-lock.started","log_level":1,'
        '"data":{"lock":{"key":"bbs","owner":"bbs-1","type":"lock","type_code":1},"session":"5","ttl_in_seconds":15}}\n'
    ]


def test_the_rfc3339_format_to_the_byte(out: Lines) -> None:
    logger_to(out, time_format=TimeFormat.RFC3339).info("started")

    assert out.writes == [
        '{"timestamp":"2026-11-23T20:45:55.702186515Z","level":"info","source":"bbs","message":"bbs.started","data":{}}\n'
    ]


@pytest.mark.parametrize(
    ("now_ns", "epoch", "rfc3339"),
    [
        (0, "0.000000000", "1970-01-01T00:00:00.000000000Z"),
        (1_000_000_000, "1.000000000", "1970-01-01T00:00:01.000000000Z"),
        (1_000_000_007, "1.000000007", "1970-01-01T00:00:01.000000007Z"),
    ],
)
def test_times_have_nine_decimals(out: Lines, now_ns: int, epoch: str, rfc3339: str) -> None:
    for time_format in (TimeFormat.UNIX_EPOCH, TimeFormat.RFC3339):
        root_logger("bbs", LagerSink(out, time_format=time_format, now_ns=lambda: now_ns)).info("x")

    assert [json.loads(line)["timestamp"] for line in out.writes] == [epoch, rfc3339]


LEVELS = (Level.DEBUG, Level.INFO, Level.ERROR, Level.FATAL)


@pytest.mark.parametrize("min_level", [*LEVELS, Level.SILENT])
def test_only_lines_of_the_minimum_level_pass_and_it_may_change_at_run_time(
    out: Lines, min_level: Level
) -> None:
    sink = LagerSink(out, min_level=Level.SILENT)
    log = root_logger("bbs", sink).session("s")

    sink.min_level = min_level
    for method in (log.debug, log.info, log.error, log.fatal):
        method("x")

    assert [json.loads(line)["log_level"] for line in out.writes] == [
        level for level in LEVELS if level >= min_level
    ]
    assert [log.enabled(level) for level in LEVELS] == [level >= min_level for level in LEVELS]


@pytest.mark.parametrize(("level", "name"), [*zip(LEVELS, ["debug", "info", "error", "fatal"], strict=True)])
def test_levels_have_these_names(out: Lines, level: Level, name: str) -> None:
    log = logger_to(out, time_format=TimeFormat.RFC3339, min_level=Level.DEBUG)

    getattr(log, name)("x")

    assert json.loads(out.writes[0])["level"] == name


def test_each_session_counts_its_own_children_from_1(out: Lines) -> None:
    root = logger_to(out)
    first, second = root.session("a"), root.session("b")
    first.session("c")

    first.session("d").info("x")
    second.session("e").session("f").info("y")
    root.info("z")

    assert [(json.loads(line)["message"], data_of(line)) for line in out.writes] == [
        ("bbs.a.d.x", {"session": "1.2"}),
        ("bbs.b.e.f.y", {"session": "2.1.1"}),
        ("bbs.z", {}),
    ]


def test_an_empty_component_leaves_its_dot(out: Lines) -> None:
    logger_to(out, component="").session("a").info("x")

    line = json.loads(out.writes[0])
    assert (line["source"], line["message"]) == ("", ".a.x")


def test_data_is_inherited_and_later_keys_win(out: Lines) -> None:
    outer = logger_to(out).session("a", {"one": 1, "two": 1, "three": 1})
    inner = outer.session("b", {"two": 2, "three": 2}, cell_id="c")

    inner.info("x", {"three": 3, "session": "forged"}, action="both", data=4)

    assert data_of(out.writes[0]) == {
        "one": 1, "two": 2, "three": 3, "cell_id": "c", "action": "both", "data": 4, "session": "1.1"
    }  # fmt: skip


def test_more_data_makes_no_new_session(out: Lines) -> None:
    logger_to(out).session("a").with_data({"trace-id": "f"}).info("x")

    line = json.loads(out.writes[0])
    assert (line["message"], line["data"]) == ("bbs.a.x", {"session": "1", "trace-id": "f"})


@pytest.mark.parametrize("error", ["no such luck", RuntimeError("no such luck")], ids=["text", "exception"])
def test_an_error_becomes_its_text(out: Lines, error: BaseException | str) -> None:
    logger_to(out).error("failed", {"guid": "g"}, error=error)

    assert data_of(out.writes[0]) == {"error": "no such luck", "guid": "g"}


def test_fatal_tells_where_the_error_was_raised(out: Lines) -> None:
    try:
        raise RuntimeError("no such luck")
    except RuntimeError as error:
        logger_to(out).fatal("failed", error=error)

    data = data_of(out.writes[0])
    assert data["error"] == "no such luck"
    assert "test_fatal_tells_where_the_error_was_raised" in data["trace"]


def test_fatal_without_an_error_tells_where_it_was_called(out: Lines) -> None:
    logger_to(out).fatal("failed")

    data = data_of(out.writes[0])
    assert data.keys() == {"trace"}
    assert data["trace"].rstrip().endswith('logger_to(out).fatal("failed")')


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("<a href='x'>&", r'''"\u003ca href='x'\u003e\u0026"'''),
        ("\u2028\u2029", r'"\u2028\u2029"'),
        ("é ☃ 🚀 \x7f", '"é ☃ 🚀 \x7f"'),
        ('\\ " / \n\r\t\x01', r'"\\ \" / \n\r\t\u0001"'),
        ("\udc80", r'"\ufffd"'),
        ({"b": 1, "a": {"d": None, "c": True}}, '{"a":{"c":true,"d":null},"b":1}'),
        ((1, "two", [3]), '[1,"two",[3]]'),
        ({"z", "y"}, '["y","z"]'),
        (b"\x00\xff", '"AP8="'),
        (ValueError("bad <"), r'"bad \u003c"'),
        (2**63, "9223372036854775808"),
    ],
)
def test_json_is_written_as_go_writes_it(value: object, text: str) -> None:
    assert go_json(value) == text


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON_VALUES))
def test_whatever_the_data_a_line_is_one_line_of_json_that_says_it(data: dict[str, object]) -> None:
    out = Lines()

    logger_to(out).info("x", data)

    (line,) = out.writes
    assert line.index("\n") == len(line) - 1
    assert not re.search("[<>&\u2028\u2029]", line)
    assert data_of(line) == data


CIRCLE: dict[str, object] = {}
CIRCLE["self"] = CIRCLE


@pytest.mark.parametrize(
    "data", [{"f": float("nan")}, {"f": print}, CIRCLE], ids=["nan", "function", "circle"]
)
def test_data_without_a_json_form_is_dumped(out: Lines, data: Data) -> None:
    logger_to(out).info("x", data)

    assert data_of(out.writes[0]).keys() == {"lager serialisation error", "data_dump"}


def test_processors_see_a_line_before_it_is_written_and_may_drop_it(out: Lines) -> None:
    def redact(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["data"]["password"] = "*REDACTED*"
        return event

    def hush(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if event["event"] == "bbs.noise":
            raise structlog.DropEvent
        return event

    given_data = {"password": "secret"}
    log = logger_to(out, processors=[redact, hush])
    log.info("signal", given_data)
    log.info("noise", given_data)

    assert [data_of(line) for line in out.writes] == [{"password": "*REDACTED*"}]
    assert given_data == {"password": "secret"}


def test_the_null_logger_takes_everything() -> None:
    log = null_logger().session("a", {"b": 1})

    log.fatal("x", {"c": 2}, error="e")

    assert not log.enabled(Level.FATAL)
