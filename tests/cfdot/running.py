"""``cfdot`` in this process, by the way that its command line goes."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

from bbs.cfdot.main import NO_MORE, More, Surroundings, carry_out


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def cfdot(*words: str, environment: Mapping[str, str], program: str = "cfdot", more: More = NO_MORE) -> Ended:
    out, err = BytesIO(), BytesIO()
    surroundings = Surroundings(
        program=program, words=(program, *words), environment=environment, out=out, err=err, more=more
    )
    code = carry_out(surroundings)
    return Ended(code, *(stream.getvalue().decode("utf-8", "surrogateescape") for stream in (out, err)))
