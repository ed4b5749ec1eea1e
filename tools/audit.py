"""``make audit``: asks for known vulnerabilities of every version that the locks pin. Needs the network.

Exit code 0: none is known; 1: some are, and are listed; 2: not all could be asked about. A source of advisories that is
not there must not look like an audit that found nothing: pip-audit by itself ends with 0 when it has skipped everything.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LOCKS: Final = Path(__file__).parent.parent / "locks"
TIMEOUT_S: Final = 600

EXIT_VULNERABLE: Final = 1
EXIT_UNKNOWN: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is known about a lock: ``vulnerable`` has a line for each advisory, ``unknown`` one for each package that could not be
    asked about.
    """

    audited: int
    vulnerable: tuple[str, ...]
    unknown: tuple[str, ...]


def found(report: Mapping[str, Any]) -> Found:
    """What pip-audit's report (``--format json``) says."""
    packages = report["dependencies"]
    return Found(
        audited=sum(1 for package in packages if "skip_reason" not in package),
        vulnerable=tuple(
            f"{package['name']} {package['version']}: {advisory['id']}, "
            + (
                f"mended in {', '.join(advisory['fix_versions'])}"
                if advisory["fix_versions"]
                else "not mended yet"
            )
            for package in packages
            for advisory in package.get("vulns", ())
        ),
        unknown=tuple(package["skip_reason"] for package in packages if "skip_reason" in package),
    )


def ask(lock: Path, options: Sequence[str]) -> Found | str:
    """What is known about ``lock``, or why that could not be found out."""
    command = (
        sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off",
        "--format", "json", "--requirement", str(lock), *options,
    )  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    try:
        return found(json.loads(done.stdout))
    except ValueError:
        # It ends with a traceback when it is offline; the last line says what was not reached.
        return (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]


def main(options: Sequence[str]) -> int:
    """``options`` are pip-audit's: ``--vulnerability-service osv`` asks another source."""
    exit_code = 0
    for lock in sorted(LOCKS.glob("*.txt")):
        name = lock.relative_to(LOCKS.parent)
        result = ask(lock, options)
        if isinstance(result, str):
            print(f"{name}: the source of advisories could not be asked: {result}")
            return EXIT_UNKNOWN
        print(f"{name}: {result.audited} packages audited, {len(result.vulnerable)} advisories")
        for line in result.vulnerable:
            print(f"  {line}")
        if result.unknown:
            print(
                f"  {len(result.unknown)} could not be asked about, so this says nothing of them; the first:"
            )
            print(f"  {result.unknown[0]}")
            exit_code = EXIT_UNKNOWN
        elif result.vulnerable:
            exit_code = exit_code or EXIT_VULNERABLE
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
