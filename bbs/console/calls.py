"""How each command is carried out. What it takes is imported only then: most commands are short."""

from collections.abc import Callable, Mapping
from typing import Final

from bbs.cfdot.given import Given
from bbs.cfdot.main import More, Surroundings
from bbs.cfdot.table import Command
from bbs.cfdot.target import Target
from bbs.console.advice import advice
from bbs.console.choosing import settings
from bbs.console.table import BY_NAME

Call = Callable[[str, Given, Target, Surroundings], None]


def call(command: Command, given: Given, target: Target, surroundings: Surroundings) -> None:
    """
    Raises:
      CommandFailed: it could not be carried out.
    """
    CALLS[command.name](command.name, given, target, surroundings)


def _cells(name: str, given: Given, target: Target, surroundings: Surroundings) -> None:
    from bbs.console.cells import call_cells

    call_cells(name, given, target, surroundings)


def _events(_: str, given: Given, target: Target, surroundings: Surroundings) -> None:
    from bbs.console.events import call_events

    call_events(given, target, surroundings)


def _lrp(_: str, given: Given, target: Target, surroundings: Surroundings) -> None:
    from bbs.console.lrp import call_lrp

    call_lrp(given, target, surroundings)


def _targets(_: str, given: Given, __: Target, surroundings: Surroundings) -> None:
    from bbs.console.listing_targets import list_targets

    list_targets(given, surroundings)


def _top(_: str, given: Given, target: Target, surroundings: Surroundings) -> None:
    from bbs.console.top import call_top

    call_top(given, target, surroundings)


CALLS: Final[Mapping[str, Call]] = {
    "cell": _cells,
    "cells": _cells,
    "events": _events,
    "lrp": _lrp,
    "targets": _targets,
    "top": _top,
}
"""By the names that `bbs.console.table` has."""

MORE: Final = More(BY_NAME, call, settings=settings, advice=advice)
