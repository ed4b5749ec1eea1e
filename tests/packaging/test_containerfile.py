"""The container file: it is linted, and built where an engine answers."""

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from bbs import __version__
from perf.programs import program

REPOSITORY = Path(__file__).parent.parent.parent
CONTAINERFILE = REPOSITORY / "packaging/Containerfile"
IGNORED = CONTAINERFILE.with_name("Containerfile.dockerignore")
BUILD_MAX_S = 600


def engine() -> tuple[str | None, str]:
    """The command of a container engine that answers, and why there is none."""
    reasons = []
    for name in ("podman", "docker"):
        if (command := program(name)) is None:
            reasons.append(f"no {name}")
            continue
        done = subprocess.run([command, "info"], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0:
            return command, ""
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        reasons.append(f"{name} does not answer: {' '.join(last)}")
    return None, "; ".join(reasons)


def test_the_linter_has_nothing_to_say() -> None:
    linter = Path(sys.executable).with_name("hadolint")

    done = subprocess.run(
        [linter, "--no-color", CONTAINERFILE], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_let_through_and_is_what_the_checkout_has() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", CONTAINERFILE.read_text(), re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    let_through = re.findall(r"^!(\S+)$", IGNORED.read_text(), re.MULTILINE)

    assert sources == let_through
    assert IGNORED.read_text().count("\n*\n") == 1
    assert (REPOSITORY / sources[0]).is_file()
    assert fnmatch(f"dist/bbs-{__version__}-py3-none-any.whl", sources[1])


@pytest.mark.slow
def test_the_image_is_built_and_runs_as_nobody_in_particular(tmp_path: Path) -> None:
    command, reason = engine()
    if command is None:
        pytest.skip(f"no container engine: {reason}")
    dist = tmp_path / "dist"
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", dist, REPOSITORY)
    run("cp", "--recursive", REPOSITORY / "locks", REPOSITORY / "packaging", tmp_path)

    run(command, "build", "--file", tmp_path / "packaging/Containerfile", "--tag", "bbs:test", tmp_path)
    try:
        assert run(command, "run", "--rm", "bbs:test", "--version").strip() == f"bbs {__version__}"
        assert run(command, "run", "--rm", "--entrypoint", "id", "bbs:test", "--user").strip() == "8889"
    finally:
        run(command, "image", "rm", "bbs:test")


def run(*words: str | Path) -> str:
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=BUILD_MAX_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
