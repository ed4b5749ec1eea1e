"""How `bbs` says what is wrong with its command line, its directory or its ports, and ends before it has begun."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bbs.commands.cli import main
from bbs.commands.local_keyring import KEYS_FILE
from tests.databases import SomeDatabase


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "bbs", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param((), "required: COMMAND", id="no command"),
        pytest.param(
            ("serve", "--body-bytes-max", "0"), "invalid positive int value: '0'", id="a senseless limit"
        ),
        pytest.param(("serve", "--log-level", "loud"), "invalid choice: 'loud'", id="an unknown level"),
        pytest.param(("serve", "--ca-file", "ca.crt"), "go together", id="a CA without a certificate"),
        pytest.param(
            ("serve", "--ca-file", "x", "--cert-file", "x", "--key-file", "x"),
            "no such file",
            id="missing files",
        ),
        pytest.param(("serve", "--listen", "127.0.0.1"), "127.0.0.1", id="no port"),
        pytest.param(
            ("serve", "--listen", "127.0.0.1:0", "--locket-listen", "127.0.0.1:0", "--database-url", "host="),
            "cannot use the database: ",
            id="no database",
        ),
    ],
)
def test_a_bad_command_line_is_explained(arguments: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    if arguments[:1] == ("serve",):
        arguments = (*arguments, "--data-dir", str(tmp_path))

    result = run(*arguments)

    assert result.returncode == 2
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr
    assert not result.stdout


def exit_code(*arguments: str) -> object:
    """Of a command line in this process, as the system would see it."""
    try:
        return main(arguments)
    except SystemExit as refused:  # argparse's way
        return refused.code


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param(("--listen", "127.0.0.1:99999"), "--listen: address 99999: invalid port", id="a port"),
        pytest.param(("--listen", "a b:1"), "--listen: address 'a b:1': invalid character", id="a host"),
        pytest.param(("--listen", ""), "--listen: address : missing port", id="an empty address"),
        pytest.param(("--health-listen", "x"), "--health-listen: address x: missing port", id="health"),
        pytest.param(("--debug-listen", "x:nope"), "--debug-listen: lookup tcp/nope: unknown port", id="debug"),
        pytest.param(("--locket-listen", "::1:80"), "--locket-listen: address ::1:80: too many", id="Locket"),
        pytest.param(("--listen", "x:1\0"), "--listen: lookup tcp/'1\\x00': unknown port", id="a NUL"),
        pytest.param(("--data-dir", "a\0b"), "--data-dir contains a NUL", id="a NUL in a path"),
        pytest.param(("--database-url", "x=\0"), "--database-url", id="a NUL in a URL"),
        pytest.param(("--database-url", "garbage"), "cannot use the database: no key=value", id="no URL"),
        pytest.param(("--auctioneer-address", "banana"), "is not an http or https URL", id="no auctioneer"),
        pytest.param(("--auctioneer-address", "http://[::1"), "is not a URL", id="half an IPv6 address"),
        pytest.param(("--task-callback-workers", "0"), "at least 1", id="nobody to call back"),
        pytest.param(("--ca-file", "\0", "--cert-file", "\0", "--key-file", "\0"), "invalid argument", id="files"),
        pytest.param(("--body-timeout-s", "nan"), "invalid positive float value: 'nan'", id="not a number"),
        pytest.param(("--body-timeout-s", "inf"), "invalid positive float value: 'inf'", id="infinity"),
        pytest.param(("--body-timeout-s", "1e400"), "invalid positive float value: '1e400'", id="1e400"),
        pytest.param(("--body-timeout-s", "-1"), "invalid positive float value: '-1'", id="negative"),
        pytest.param(("--kick-task-duration-s", "1e300"), "1e300 is too much: at most 1000000000", id="1e300"),
        pytest.param(("--receive-bytes", "9" * 30), "is too much: at most", id="a huge count"),
        pytest.param(("--receive-bytes", "9" * 5000), "invalid positive int value", id="a count of 5000 digits"),
        pytest.param(("--batch-rows-max", "100001"), "100001 is too much: at most 100000", id="a batch"),
        pytest.param(("--write-retry-s", "1e10"), "1e10 is too much", id="a wait of centuries"),
    ],
)  # fmt: skip
def test_flags_that_cannot_be_meant_are_refused_before_anything_starts(
    arguments: tuple[str, ...], complaint: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In this process: a command line of the system's cannot hold a NUL."""
    beside = (
        "--data-dir",
        str(tmp_path),
        "--locket-listen",
        "127.0.0.1:0",
        "--database-url",
        "host=h user=u",
    )
    assert exit_code("serve", *beside, *arguments) == 2
    assert complaint in capfd.readouterr().err
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize(
    ("prepare", "complaint"),
    [
        pytest.param(lambda data: data.write_text(""), "choose another --data-dir", id="a file for a directory"),
        pytest.param(lambda data: (data / KEYS_FILE).mkdir(parents=True), "Is a directory", id="a directory for keys"),
        *(
            pytest.param(
                lambda data, content=content: (data.mkdir(), (data / KEYS_FILE).write_bytes(content)),
                "does not hold usable encryption keys",
                id=f"keys: {content[:20]!r}",
            )
            for content in (
                b"",
                b"\xff\xfe",
                b"null",
                b"[1]",
                b"[" * 100_000,
                b"9" * 5000,
                b'{"encryption_keys": [], "active_key_label": "a"}',
                b'{"encryption_keys": {"a": 1}, "active_key_label": "a"}',
                b'{"encryption_keys": {"a": "\\ud800"}, "active_key_label": "a"}',
                b'{"encryption_keys": {"a": "b"}, "active_key_label": []}',
                b'{"encryption_keys": {"a": "b"}, "active_key_label": "c"}',
            )
        ),
    ],
)  # fmt: skip
def test_a_data_directory_that_cannot_be_used_is_explained(
    prepare: Callable[[Path], object],
    complaint: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    data = tmp_path / "data"
    prepare(data)

    code = main(
        [
            "serve",
            "--data-dir",
            str(data),
            "--locket-listen",
            "127.0.0.1:0",
            "--database-url",
            "host=h user=u",
        ]
    )

    assert code == 2
    told = capfd.readouterr().err
    assert told.startswith("bbs serve: ")
    assert complaint in told


def test_a_data_directory_that_postgres_cannot_use_is_explained(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.write_text("")

    code = main(
        ["serve", "--data-dir", str(data), "--listen", "127.0.0.1:0", "--locket-listen", "127.0.0.1:0"]
    )

    assert code == 2
    told = capfd.readouterr().err
    assert told.startswith("bbs serve: cannot run Postgres in ")
    assert "choose another data directory" in told


@pytest.mark.parametrize("flag", ["--health-listen", "--debug-listen"])
@pytest.mark.slow
def test_the_flag_of_a_port_in_use_is_named(flag: str, tmp_path: Path, some_database: SomeDatabase) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run(
            *("serve", "--listen", "127.0.0.1:0", "--locket-listen", "127.0.0.1:0"),
            *("--database-url", some_database.url, "--data-dir", str(tmp_path)),
            *(flag, f"127.0.0.1:{taken.getsockname()[1]}"),
        )

    assert result.returncode == 2
    assert f"bind: address already in use; choose another {flag}" in result.stderr


def test_certificates_are_made_once(tmp_path: Path) -> None:
    made = run("certs", str(tmp_path / "certs"))
    assert made.returncode == 0
    assert [Path(line).name for line in made.stdout.splitlines()] == [
        "ca.crt",
        "server.crt",
        "server.key",
        "client.crt",
        "client.key",
    ]

    again = run("certs", str(tmp_path / "certs"))

    assert again.returncode == 2
    assert "ca.crt" in again.stderr


@pytest.mark.slow
def test_a_port_in_use_is_explained(tmp_path: Path, some_database: SomeDatabase) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run(
            *("serve", "--listen", address, "--locket-listen", "127.0.0.1:0"),
            *("--database-url", some_database.url, "--data-dir", str(tmp_path)),
        )

    assert result.returncode == 2
    assert f"cannot listen: listen tcp {address}: bind: address already in use; choose" in result.stderr
