"""What the checks found, as text for people and as JSON for scripts. Pure."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bbs.doctor.checks import CHECKS, Check, Finding, Verdict
from bbs.doctor.facts import Facts

WIDTH: Final = 110
NAME_WIDTH: Final = max(len(check.name) for check in CHECKS) + 2
VERDICT_WIDTH: Final = 9


@dataclass(frozen=True, slots=True)
class Report:
    findings: Sequence[tuple[Check, Finding]]

    @property
    def is_healthy(self) -> bool:
        return all(finding.verdict is not Verdict.WRONG for _, finding in self.findings)

    def as_text(self) -> str:
        """A line or more for each check, those with something wrong in capitals, each followed by its remedy."""
        lines = []
        for check, finding in self.findings:
            verdict = finding.verdict.upper() if finding.verdict is Verdict.WRONG else finding.verdict
            lines += _wrapped(f"{verdict:<{VERDICT_WIDTH}}{check.name:<{NAME_WIDTH}}", finding.reason)
            if finding.remedy:
                lines += _wrapped("", f"-> {finding.remedy}")
        wrong = sum(finding.verdict is Verdict.WRONG for _, finding in self.findings)
        lines.append("healthy" if self.is_healthy else f"not healthy: {wrong} of {len(self.findings)} checks")
        return "\n".join(lines)

    def as_json(self) -> str:
        checks = [
            {
                "name": check.name,
                "verdict": str(finding.verdict),
                "reason": finding.reason,
                "remedy": finding.remedy,
            }
            for check, finding in self.findings
        ]
        return json.dumps({"healthy": self.is_healthy, "checks": checks})


def judged(facts: Facts) -> Report:
    return Report([(check, check.judge(facts)) for check in CHECKS])


def _wrapped(first: str, text: str) -> list[str]:
    """Names in it come from the database and from Locket, and may hold what moves a terminal's cursor."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    indent = " " * (VERDICT_WIDTH + NAME_WIDTH)
    return textwrap.wrap(
        shown, WIDTH, initial_indent=first or indent, subsequent_indent=indent, break_on_hyphens=False
    )
