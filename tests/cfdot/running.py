"""``cfdot`` in this process, by the way that its command line goes."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

from bbs.cfdot.main import NO_MORE, Surroundings, carry_out
from bbs.console import MORE


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def cfdot(*words: str, environment: Mapping[str, str], program: str = "cfdot") -> Ended:
    """As ``bbs`` it has the commands of the console, too."""
    out, err = BytesIO(), BytesIO()
    surroundings = Surroundings(
        program=program,
        words=(program, *words),
        environment=environment,
        out=out,
        err=err,
        more=MORE if program == "bbs" else NO_MORE,
    )
    code = carry_out(surroundings)
    return Ended(code, *(stream.getvalue().decode("utf-8", "surrogateescape") for stream in (out, err)))
