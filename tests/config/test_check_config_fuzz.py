"""Whatever a file holds, ``bbs check-config`` ends with sentences and one of its exit codes."""

import io
import json
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bbs.commands.check_config import UNCHECKED
from bbs.commands.cli import main
from bbs.config.upstream import KNOWN_KEYS, AdvancedMetrics, LoggregatorConfig, RouteConfig, UpstreamConfig
from tests.fuzzing import examples

NASTY_TEXTS = st.sampled_from(
    ["", "\0", "a\0b", "\ud800", "\u202e", "é" * 300, "a" * 5000, "..", "/", "/dev/null", "host:99999", "[::1]:80",
     "[::1", "https://[", "https://a:b@\0", "postgres://[::1", "%zz", "host=' ", "port=0x1", "-1", "0", "1ns", "-1s",
     "9223372036854775807ns", "9223372036854775808ns", "1h" * 100, "\u2028", "(?P<", "[[:alpha:]", "a{1,", "(" * 500]
)  # fmt: skip
TEXTS = NASTY_TEXTS | st.text(max_size=40) | st.from_regex(re.compile(r"[a-z.\[\]:%0-9@/?=' -]{0,30}"))
NUMBERS = (
    st.sampled_from([0, 1, -1, (1 << 31) - 1, (1 << 63) - 1, -(1 << 63), 1 << 64, 10**400]) | st.integers()
)
SCALARS = st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


def objects(record: type, **nested: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the record's keys, each with a value of any kind."""
    names = st.sampled_from([name for name in KNOWN_KEYS[record] if name not in nested])
    some = st.dictionaries(names | TEXTS, VALUES, max_size=6)
    return st.builds(lambda plain, deep: {**plain, **deep}, some, st.fixed_dictionaries({}, optional=nested))


CONFIGURATIONS = objects(
    UpstreamConfig,
    loggregator=objects(LoggregatorConfig) | VALUES,
    advanced_metrics=objects(AdvancedMetrics, route_config=objects(RouteConfig)) | VALUES,
    encryption_keys=st.dictionaries(TEXTS, TEXTS, max_size=3) | VALUES,
    active_key_label=TEXTS,
    database_driver=st.just("postgres"),
    database_connection_string=TEXTS | TEXTS.map(lambda text: f"postgres://{text}"),
    redact_secrets=st.just(True),
    redact_patterns=st.lists(TEXTS, max_size=3),
    log_level=st.just("info"),
)


def outcome(content: bytes) -> tuple[int, str]:
    with TemporaryDirectory() as directory:
        file = Path(directory) / "bbs.json"
        file.write_bytes(content)
        printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii")  # the least a terminal may know
        with redirect_stdout(printed), redirect_stderr(printed):
            code = main(["check-config", str(file)])
        printed.flush()
        return code, printed.buffer.getvalue().decode("ascii")


@given(CONFIGURATIONS)
@examples(150)
def test_of_any_values_it_tells_in_sentences(configuration: dict[str, Any]) -> None:
    code, printed = outcome(json.dumps(configuration).encode())

    assert code in (0, 1)
    assert UNCHECKED not in printed
    assert all(line.isprintable() and " " in line for line in printed.splitlines())


@given(CONFIGURATIONS, st.data())
@examples(100)
def test_of_damaged_files_it_tells_in_sentences(configuration: dict[str, Any], data: st.DataObject) -> None:
    content = bytearray(json.dumps(configuration, ensure_ascii=False).encode(errors="surrogatepass"))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))

    code, printed = outcome(bytes(content))

    assert code in (0, 1, 2)
    assert UNCHECKED not in printed


@given(st.binary(max_size=200))
@examples(100)
def test_of_any_bytes_it_tells_in_sentences(content: bytes) -> None:
    code, printed = outcome(content)

    assert code in (0, 1, 2)
    assert printed
    assert UNCHECKED not in printed


def test_a_path_that_cannot_be_shown_is_shown_all_the_same(tmp_path: Path) -> None:
    printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with redirect_stdout(printed), redirect_stderr(printed):
        assert main(["check-config", f"{tmp_path}/\udcff\0"]) == 2
