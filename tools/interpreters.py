"""The quick suite on every Python that the metadata names and this machine has: ``make test-interpreters``.

Each gets a virtual environment of its own, ``.venv-3.x``, made as ``make setup`` makes it. Whatever stands on the command line goes to pytest.
"""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

TOP: Final = Path(__file__).parent.parent
CLASSIFIER: Final = "Programming Language :: Python :: 3."


def supported() -> list[str]:
    """Versions such as ``3.12``, in order."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    minors = [
        int(classifier.removeprefix(CLASSIFIER))
        for classifier in project["classifiers"]
        if classifier.startswith(CLASSIFIER)
    ]
    return [f"3.{minor}" for minor in sorted(minors)]


def is_there(python: str) -> bool:
    """Whether ``python`` can be run. To find the command is not enough: a version manager has one for each Python that it
    could install.
    """
    if shutil.which(python) is None:
        return False
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def passes(python: str, environment: Path, arguments: list[str]) -> bool:
    for command in (
        ("make", "--no-print-directory", "setup", f"PYTHON={python}", f"VENV={environment.name}"),
        (str(environment / "bin/python"), "-m", "pytest", *arguments),
    ):
        if subprocess.run(command, cwd=TOP, check=False).returncode:
            return False
    return True


def main(arguments: list[str]) -> int:
    results = {}
    for version in supported():
        python = f"python{version}"
        if is_there(python):
            print(f"{python}:", flush=True)
            results[python] = "passed" if passes(python, TOP / f".venv-{version}", arguments) else "failed"
        else:
            results[python] = "not found"
    for python, result in results.items():
        print(f"{python}: {result}")
    return 0 if {*results.values()} <= {"passed", "not found"} and "passed" in results.values() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
