"""What is installed: the locks fit pyproject.toml and one another, nothing is without a hash, and nothing goes around them."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import audit, interpreters, locks
from tools.locks import Pinned

PYPROJECT = tomllib.loads((locks.TOP / "pyproject.toml").read_text())
PROJECT, GROUPS = PYPROJECT["project"], PYPROJECT["dependency-groups"]
OWN, EXTRAS = PROJECT["dependencies"], PROJECT["optional-dependencies"]
ASKED_FOR = {
    "server": OWN,
    "mysql": [*OWN, *EXTRAS["mysql"]],
    "dev": [*OWN, *EXTRAS["dev"], *EXTRAS["mysql"], *GROUPS["build"], *PYPROJECT["build-system"]["requires"]],
    "perf": [*OWN, *EXTRAS["perf"]],
    "tools": GROUPS["tools"],
    "cluster": GROUPS["cluster"],
    "cluster-build": GROUPS["cluster-build"],
}
FILES = {path.stem: path for path in locks.LOCKS.glob("*.txt")}


def versions(name: str, python: str) -> dict[str, str]:
    """What a lock installs on one Python, on Linux."""
    environment = {
        "python_version": python, "python_full_version": f"{python}.0", "implementation_name": "cpython",
        "platform_python_implementation": "CPython", "os_name": "posix", "sys_platform": "linux",
    }  # fmt: skip
    return {
        each.name: each.version
        for each in locks.read(FILES[name])
        if not each.marker or Marker(each.marker).evaluate({**environment})
    }


def test_each_lock_is_for_something() -> None:
    assert FILES.keys() == ASKED_FOR.keys()


@pytest.mark.parametrize("python", interpreters.supported())
@pytest.mark.parametrize("name", ASKED_FOR)
def test_a_lock_has_all_that_is_asked_for(name: str, python: str) -> None:
    """`make lock` was run after the last change of pyproject.toml."""
    installed = versions(name, python)

    for text in ASKED_FOR[name]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(installed[canonicalize_name(requirement.name)]), text


@pytest.mark.parametrize("python", interpreters.supported())
@pytest.mark.parametrize("other", ["server", "mysql", "perf"])
def test_what_is_tested_is_what_runs(other: str, python: str) -> None:
    tested, runs = versions("dev", python), versions(other, python)

    assert {name: version for name, version in runs.items() if tested.get(name, version) != version} == {}
    assert set(versions("server", python)) <= set(tested)


@pytest.mark.parametrize("name", ASKED_FOR)
def test_each_package_has_hashes_and_somebody_who_asked_for_it(name: str) -> None:
    for package in locks.read(FILES[name]):
        assert package.hashes, package.name
        assert len(set(package.hashes)) == len(package.hashes), package.name
        assert package.asked_by, package.name


def test_a_pin_is_read(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    text = (
        "# by a tool\n"
        "a-b==1.0 ; python_version < '3.12' \\\n"
        f"    --hash=sha256:{'0' * 64} \\\n"
        f"    --hash=sha256:{'1' * 64}\n"
        "    # via\n    #   -c x\n    #   bbs (pyproject.toml)\n    #   c\n"
        f"c==2 \\\n    --hash=sha256:{'2' * 64}\n    # via d\n"
    )
    lock.write_text(text)

    assert locks.read(lock) == [
        Pinned(
            name="a-b",
            version="1.0",
            marker="python_version < '3.12'",
            hashes=("sha256:" + "0" * 64, "sha256:" + "1" * 64),
            asked_by=(locks.PROJECT, "c"),
        ),
        Pinned(name="c", version="2", marker="", hashes=("sha256:" + "2" * 64,), asked_by=("d",)),
    ]


@pytest.mark.parametrize("line", ["a>=1 \\", "a==1", "-r other.txt", "./a.whl", "a==1 \\\n    --index-url x"])
def test_what_is_not_pinned_with_its_hashes_is_no_lock(tmp_path: Path, line: str) -> None:
    lock = tmp_path / "lock"
    lock.write_text(line + "\n")

    with pytest.raises(ValueError, match=r"not a pinned version|neither a hash"):
        locks.read(lock)


@pytest.mark.parametrize("path", ["Makefile", "packaging/Containerfile", "packaging/README.md"])
def test_nothing_is_installed_around_the_locks(path: str) -> None:
    """Each install either demands hashes, or takes no dependencies. One that builds does not fetch its tools."""
    text = (locks.TOP / path).read_text()
    commands = re.findall(r"(?:pip install|\$\(LOCKED\)|\$\(INSTALL\)).*", text.replace("\\\n", " "))
    commands = [
        command.replace("$(LOCKED)", "--require-hashes --only-binary :all:")
        for command in commands
        if "--root-user-action" not in command and not command.startswith("$(INSTALL) --require-hashes")
    ]

    assert commands
    for command in commands:
        assert "--require-hashes --only-binary :all:" in command or "--no-deps" in command, command
        assert "-e ." not in command or "--no-build-isolation" in command, command
    assert "-m build" not in text or "-m build --no-isolation" in text


def test_an_audit_that_could_not_ask_has_not_found_nothing() -> None:
    report = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": []},
            {
                "name": "b",
                "version": "2",
                "vulns": [{"id": "V-1", "fix_versions": ["2.1", "3"]}, {"id": "V-2", "fix_versions": []}],
            },
            {"name": "c", "skip_reason": "c (3) could not be audited"},
        ]
    }

    assert audit.found(report) == audit.Found(
        audited=2,
        vulnerable=("b 2: V-1, mended in 2.1, 3", "b 2: V-2, not mended yet"),
        unknown=("c (3) could not be audited",),
    )
