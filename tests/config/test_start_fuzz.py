"""Whatever the file of ``bbs -config`` holds, the start ends with a sentence and an exit code, and tells no secret of it.

The twin of what `test_check_config_fuzz` does for ``bbs check-config``, on the path that is walked in production. No start gets
farther than Postgres and Locket, which are not there.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.config import checks
from bbs.config.upstream import KNOWN_KEYS, UpstreamConfig
from tests.canaries import Canary, found
from tests.config.test_check_config_fuzz import VALUES
from tests.fuzzing import examples

PASSPHRASE, PASSWORD = Canary.named("passphrase"), Canary.named("database password")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Starts"]:
    command = [sys.executable, "-m", "tests.config.forked_starts"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Starts(process, tmp_path_factory.mktemp("starts") / "bbs.json")
        assert process.stdin is not None
        process.stdin.close()


class Starts:
    def __init__(self, process: "subprocess.Popen[str]", file: Path) -> None:
        self._process = process
        self._file = file

    def of(self, content: bytes) -> tuple[int, bytes]:
        """The exit code of a start with this configuration, and all that it wrote."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._file.write_bytes(content)
        self._process.stdin.write(f"{self._file}\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return code, Path(f"{self._file}.out").read_bytes()


WHOLE: dict[str, Any] = {
    "uuid": "a", "health_address": "127.0.0.1:0", "listen_address": "127.0.0.1:0", "locket_address": "127.0.0.1:1",
    "database_driver": "postgres", "database_connection_string": "postgres://u:%s@127.0.0.1:1/d",
    "encryption_keys": {"label": PASSPHRASE.text}, "active_key_label": "label", "auctioneer_address": "http://127.0.0.1:1",
    "log_level": "debug",
}  # fmt: skip


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """A whole one, of which some keys have values of any kind, are missing or in other case; the secrets often stay."""
    config = {
        **WHOLE,
        "database_connection_string": f"postgres://u:{PASSWORD.words[0].decode()}@127.0.0.1:1/d",
    }
    others = [name for name in KNOWN_KEYS[UpstreamConfig] if name != "database_connection_string"]
    config |= draw(st.dictionaries(st.sampled_from(others), VALUES, max_size=4))
    match draw(st.sampled_from(["as it is", "keys of another kind", "no URL", "in a list", "in capitals"])):
        case "keys of another kind":
            config["encryption_keys"] = draw(
                st.sampled_from(
                    [
                        [PASSPHRASE.text],
                        PASSPHRASE.text,
                        {"label": [PASSPHRASE.text]},
                        {"label": {PASSPHRASE.text: 1}},
                    ]
                )
            )
        case "no URL":
            config["database_connection_string"] = f"host=127.0.0.1 port=1 password={PASSWORD.text}"
        case "in a list":
            config["database_connection_string"] = [PASSWORD.text]
        case "in capitals":
            config["DATABASE_CONNECTION_STRING"] = config.pop("database_connection_string")
        case _:
            pass
    return config


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    content = json.dumps(draw(configurations()), ensure_ascii=draw(st.booleans())).encode(
        errors="surrogatepass"
    )
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=3)) + content[at + draw(st.integers(0, 3)) :]
    return content


@pytest.mark.slow
@examples(25)
@given(content=contents())
def test_a_start_ends_with_a_sentence(starts: Starts, content: bytes) -> None:
    check(starts, content)


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"{" * 100_000, b'{"a":' * 5_000, b"\xff\xfe{}", b"9" * 100_000],
    ids=range(7),
)
def test_a_file_that_is_no_configuration_ends_with_a_sentence(starts: Starts, content: bytes) -> None:
    check(starts, content)


def check(starts: Starts, content: bytes) -> None:
    code, output = starts.of(content)

    assert code in (1, checks.EXIT_FATAL), output
    assert b"Traceback" not in output
    assert b"exited-with-failure" not in output  # what nobody has foreseen
    *_, last = output.decode().rstrip("\n").split("\n")
    assert last.startswith("panic: ") or json.loads(last)["log_level"] >= 2
    assert found([PASSPHRASE, PASSWORD], output) == set()
