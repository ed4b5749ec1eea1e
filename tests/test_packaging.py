"""The wheel and the sdist that we would give away, installed and run; and the files around them."""

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from bbs import __version__
from tools import interpreters, locks

REPOSITORY = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path | None = None, expect: int = 0) -> str:
    # What is imported is to be what is installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_made_from_the_sdist_installs_and_runs(tmp_path: Path) -> None:
    """Built as `make wheel` does. Its dependencies are those of this environment, to be quick."""
    dist = tmp_path / "dist"
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, REPOSITORY)
    (wheel,) = dist.glob("*.whl")
    assert len(list(dist.glob("*.tar.gz"))) == 1
    run(sys.executable, REPOSITORY / "tools/sbom.py", dist, cwd=tmp_path)
    assert_lists_all_that_is_pinned(wheel)
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", wheel)
    site_packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # After the wheel's own directory, so that what is run is the wheel.
    (site_packages / "zz-dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    bbs = tmp_path / "venv/bin/bbs"
    assert run(bbs, "--version", cwd=tmp_path).strip() == f"bbs {__version__}"
    assert "Available Commands:" in run(tmp_path / "venv/bin/cfdot", cwd=tmp_path)
    where = run(python, "-c", "import bbs; print(bbs.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(site_packages)
    (tmp_path / "empty.json").write_text("{}")
    assert "encryption_keys" in run(bbs, "check-config", tmp_path / "empty.json", cwd=tmp_path, expect=1)
    assert "no such file" in run(bbs, "-config", tmp_path / "nope", cwd=tmp_path, expect=2)


def assert_lists_all_that_is_pinned(wheel: Path) -> None:
    """The file beside the wheel is a CycloneDX document about this wheel and each package of its lock."""
    bom = json.loads(Path(f"{wheel}.cdx.json").read_text())
    about = bom["metadata"]["component"]
    pinned = locks.read(locks.LOCKS / "server.txt")

    assert bom["bomFormat"] == "CycloneDX"
    assert (about["name"], about["version"]) == ("bbs", __version__)
    assert [each["content"] for each in about["hashes"]] == [hashlib.sha256(wheel.read_bytes()).hexdigest()]
    assert {
        component["purl"]: {
            "sha256:" + each["content"] for each in component["externalReferences"][0]["hashes"]
        }
        for component in bom["components"]
    } == {f"pkg:pypi/{each.name}@{each.version}": set(each.hashes) for each in pinned}
    needs = {each["ref"]: each.get("dependsOn", []) for each in bom["dependencies"]}
    assert "pkg:pypi/trio" in {ref.partition("@")[0] for ref in needs["bbs"]}
    reached, waiting = set[str](), ["bbs"]
    while waiting:
        new = {ref for ref in needs[waiting.pop()] if ref not in reached}
        reached |= new
        waiting += new
    assert reached == {component["bom-ref"] for component in bom["components"]}


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
