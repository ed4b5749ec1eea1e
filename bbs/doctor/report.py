"""What the checks found, as text for people and as JSON for scripts. Pure."""

import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bbs.doctor.checks import CHECKS, Check, Finding, Verdict
from bbs.doctor.facts import Facts

WIDTH: Final = 110
NAME_WIDTH: Final = max(len(check.name) for check in CHECKS) + 2
VERDICT_WIDTH: Final = 9
NARROW_WIDTH: Final = 72
"""Where reasons stand below the names of the checks, and not beside them."""
COLOURS: Final = {Verdict.OK: 32, Verdict.CAUTION: 33, Verdict.WRONG: 31, Verdict.SKIPPED: 2}


@dataclass(frozen=True, slots=True)
class Report:
    findings: Sequence[tuple[Check, Finding]]

    @property
    def is_healthy(self) -> bool:
        return all(finding.verdict is not Verdict.WRONG for _, finding in self.findings)

    def as_text(self, *, width: int = WIDTH, in_colour: bool = False) -> str:
        """A line or more for each check, those with something wrong in capitals, each followed by its remedy. Lines are at most
        ``width`` columns, but for words that are longer.
        """
        is_narrow = width < NARROW_WIDTH
        indent = " " * (4 if is_narrow else VERDICT_WIDTH + NAME_WIDTH)
        lines = []
        for check, finding in self.findings:
            verdict = finding.verdict.upper() if finding.verdict is Verdict.WRONG else finding.verdict
            first = f"{verdict:<{VERDICT_WIDTH}}{check.name:<{NAME_WIDTH}}"
            if is_narrow:
                told = [first.rstrip(), *_wrapped(indent, finding.reason, indent, width)]
            else:
                told = _wrapped(first, finding.reason, indent, width)
            if in_colour:
                told[0] = f"\x1b[{COLOURS[finding.verdict]}m{verdict}\x1b[0m{told[0][len(verdict) :]}"
            lines += told
            if finding.remedy:
                lines += _wrapped(f"{indent}-> ", finding.remedy, f"{indent}   ", width)
        return "\n".join([*lines, self._sum()])

    def _sum(self) -> str:
        number = Counter(finding.verdict for _, finding in self.findings)
        wrong, skipped = number[Verdict.WRONG], number[Verdict.SKIPPED]
        left = f"; {skipped} not made" if skipped else ""
        if wrong:
            return f"not healthy: {wrong} of {len(self.findings)} checks{left}"
        return f"healthy, by {len(self.findings) - skipped} of {len(self.findings)} checks{left}"

    def as_json(self) -> str:
        checks = [
            {
                "name": check.name,
                "verdict": str(finding.verdict),
                "reason": finding.reason,
                "remedy": finding.remedy,
                "details": list(finding.details),
            }
            for check, finding in self.findings
        ]
        return json.dumps({"healthy": self.is_healthy, "checks": checks})


def judged(facts: Facts) -> Report:
    return Report([(check, check.judge(facts)) for check in CHECKS])


def _wrapped(first: str, text: str, indent: str, width: int) -> list[str]:
    """Names in it come from the database and from Locket, and may hold what moves a terminal's cursor."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return textwrap.wrap(
        shown,
        width,
        initial_indent=first,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
