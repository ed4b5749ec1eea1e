"""The wheel and the sdist that we would give away, installed and run; and the files around them."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
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
    """Built as `make wheel` does, installed as the BOSH package is. Its dependencies are those of this environment, to be quick."""
    dist = tmp_path / "dist"
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, REPOSITORY)
    (wheel,) = dist.glob("*.whl")
    assert len(list(dist.glob("*.tar.gz"))) == 1
    run(sys.executable, REPOSITORY / "tools/sbom.py", dist, cwd=tmp_path)
    assert_lists_all_that_is_pinned(wheel)
    installed = install_bosh_package(tmp_path, wheel)
    python = installed / "bin/python"
    site_packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())

    bbs = installed / "bin/bbs"
    assert run(bbs, "--version", cwd=tmp_path).strip() == f"bbs {__version__}"
    assert "Available Commands:" in run(installed / "bin/cfdot", cwd=tmp_path)
    where = run(python, "-c", "import bbs; print(bbs.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(site_packages)
    (tmp_path / "empty.json").write_text("{}")
    assert "encryption_keys" in run(bbs, "check-config", tmp_path / "empty.json", cwd=tmp_path, expect=1)
    assert "no such file" in run(bbs, "-config", tmp_path / "nope", cwd=tmp_path, expect=2)


def install_bosh_package(tmp_path: Path, wheel: Path) -> Path:
    """What the package's script makes of ``wheel``, as on a director's compilation VM: where it was installed. The Python of the
    release is one that leads to ours, and what it requires is one package, which leads to those of this environment.
    """
    files = tmp_path / "compiled/bbs-python"
    files.mkdir(parents=True)
    run(sys.executable, "-m", "venv", tmp_path / "python")
    run("tar", "--create", "--gzip", "--file", files / "cpython.tar.gz", "--directory", tmp_path, "python")
    digest = hashlib.sha256(dependencies_of_this_environment(files).read_bytes()).hexdigest()
    (files / "requirements.txt").write_text(f"dependencies==1.0 --hash=sha256:{digest}\n")
    shutil.copy(wheel, files)
    target = tmp_path / "packages/bbs-python"
    target.mkdir(parents=True)
    script = REPOSITORY / "packaging/bosh/packages/bbs-python/packaging"
    done = run("env", f"BOSH_INSTALL_TARGET={target}", "bash", "-x", script, cwd=files.parent)
    assert f"bbs {__version__}" in done
    return target


def dependencies_of_this_environment(directory: Path) -> Path:
    """A wheel in ``directory``. Its path comes after the environment's own, so that what is run is what was installed there."""
    about = "dependencies-1.0.dist-info"
    kind = "Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    wheel = directory / "dependencies-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("zz-dependencies.pth", sysconfig.get_path("purelib") + "\n")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: dependencies\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", kind)
        archive.writestr(f"{about}/RECORD", "")
    return wheel


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
