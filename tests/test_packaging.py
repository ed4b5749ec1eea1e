"""The wheel and the sdist that we would give away, installed and run; and the files around them."""

import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from bbs import __version__
from tools import interpreters

REPOSITORY = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path | None = None, expect: int = 0) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_made_from_the_sdist_installs_and_runs(tmp_path: Path) -> None:
    """Its dependencies are those of this environment, to be quick; pip checks that they are the ones it names."""
    run(sys.executable, "-m", "build", "--outdir", tmp_path / "dist", REPOSITORY)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert len(list((tmp_path / "dist").glob("*.tar.gz"))) == 1
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", wheel)
    site_packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # After the wheel's own directory, so that what is run is the wheel.
    (site_packages / "zz-dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    bbs = tmp_path / "venv/bin/bbs"
    assert run(bbs, "--version", cwd=tmp_path).strip() == f"bbs {__version__}"
    where = run(python, "-c", "import bbs; print(bbs.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(site_packages)
    (tmp_path / "empty.json").write_text("{}")
    assert "encryption_keys" in run(bbs, "check-config", tmp_path / "empty.json", cwd=tmp_path, expect=1)
    assert "no such file" in run(bbs, "-config", tmp_path / "nope", cwd=tmp_path, expect=2)


def test_all_that_names_the_supported_pythons_names_the_same() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    versions = interpreters.supported()
    minors = [int(version.removeprefix("3.")) for version in versions]

    assert project["requires-python"] == f">={versions[0]},<3.{minors[-1] + 1}"
    spoken = f"Python {', '.join(versions[:-1])} or {versions[-1]}"
    assert f"You need {spoken}, make" in (REPOSITORY / "README.md").read_text()
    makefile = (REPOSITORY / "Makefile").read_text()
    assert f"this needs {spoken}," in makefile
    assert f"(3, {minors[0]}) <= sys.version_info < (3, {minors[-1] + 1})" in makefile


def test_the_interpreters_are_found_by_running_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version manager has commands on the path for what is not installed."""
    for name, exit_code in (("works", 0), ("only-a-shim", 127)):
        command = tmp_path / name
        command.write_text(f"#!/bin/sh\nexit {exit_code}\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    assert interpreters.is_there("works")
    assert not interpreters.is_there("only-a-shim")
    assert not interpreters.is_there("absent")
