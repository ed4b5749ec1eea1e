"""Ruby's and Go's protobuf as clients of a server, by the very commands of docs/stubs.md."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

from bbs.tls.development import DevelopmentCerts
from tests.daemons import free_port
from tests.debian_packages import missing
from tests.demo_fleet import serving

REPOSITORY = Path(__file__).parent.parent
PAGE = (REPOSITORY / "docs/stubs.md").read_text()
NEEDED = {
    "golang-go", "golang-google-protobuf-dev", "protobuf-compiler", "protoc-gen-go", "ruby", "ruby-google-protobuf",
}  # fmt: skip
MAKE_MAX_S = 300
RUN_MAX_S = 120

BLOCKS = re.findall(r"<!-- run by: tests/test_stubs.py -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [block for block in BLOCKS if not block.startswith("--8<--")]
"""To make stubs for Ruby, to run Ruby's program, to make Go's program, to run it. A script that the page shows is run by these."""
[SHOWN] = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)


def environment(stubs: Path, **more: str) -> Mapping[str, str]:
    return {**os.environ, "BBS": str(REPOSITORY), "STUBS": str(stubs), **more}


async def run(command: str, stubs: Path, **more: str) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(RUN_MAX_S):
        return await trio.run_process(
            ["sh", "-ec", command],
            env=environment(stubs, **more),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stubs are, and Go's program."""
    if wanting := NEEDED & missing().keys():
        pytest.skip(f"{', '.join(sorted(wanting))} not installed: make test-packages")
    directory = tmp_path_factory.mktemp("stubs")
    make_ruby, _, make_go, _ = COMMANDS
    for command in (make_ruby, make_go):
        made = subprocess.run(
            ["sh", "-ec", command],
            env=environment(directory),
            capture_output=True,
            text=True,
            timeout=MAKE_MAX_S,
            check=False,
        )
        assert made.returncode == 0, made.stderr
    return directory


@pytest.mark.slow
async def test_stubs_of_both_languages_do_what_the_page_shows(
    stubs: Path, tmp_path: Path, database_url: str, certs: DevelopmentCerts
) -> None:
    _, in_ruby, _, in_go = COMMANDS
    files = {
        "CA_CERT_FILE": certs.ca_cert,
        "CLIENT_CERT_FILE": certs.client_cert,
        "CLIENT_KEY_FILE": certs.client_key,
    }
    for transport, given in (
        ("plain HTTP", {}),
        ("mutual TLS", {name: str(path) for name, path in files.items()}),
    ):
        async with serving(tmp_path, database_url, certs=certs if given else None) as server:
            for command in (in_ruby, in_go):
                done = await run(command, stubs, BBS_URL=server.url, **given)
                assert (done.returncode, done.stdout.decode()) == (0, SHOWN), (transport, done.stderr)


@pytest.mark.slow
async def test_a_server_that_is_not_there_is_said_to_be(stubs: Path) -> None:
    _, in_ruby, _, in_go = COMMANDS
    for command in (in_ruby, in_go):
        done = await run(command, stubs, BBS_URL=f"http://127.0.0.1:{free_port()}")
        assert done.returncode == 1
        assert b"refused" in done.stderr
        assert done.stdout == b""
