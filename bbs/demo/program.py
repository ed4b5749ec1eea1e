"""What a simulated container makes of the action that an app is desired with."""

import math
import re
from dataclasses import dataclass
from typing import Final

from bbs.models import pb

_SCRIPT: Final = re.compile(
    r"(?:sleep (?P<lasts_s>\d{1,5}(?:\.\d{1,3})?) *(?:;|&&) *)?exit (?P<status>\d{1,3})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """It exits with ``status`` after it has run for ``lasts_s`` seconds."""

    lasts_s: float
    status: int


SERVES: Final = Program(lasts_s=math.inf, status=0)
"""It never exits by itself."""


def program_of(action: pb.Action) -> Program:
    """``/bin/false`` and ``/bin/sh -c "sleep 5; exit 3"`` are as they are in a shell. Whatever else is run serves."""
    run = action.run_action
    match [run.path, *run.args]:
        case ["/bin/false"]:
            return Program(lasts_s=0, status=1)
        case ["/bin/sh", "-c", str(script)] if (said := _SCRIPT.fullmatch(script.strip())) is not None:
            return Program(lasts_s=float(said["lasts_s"] or 0), status=int(said["status"]))
    return SERVES
