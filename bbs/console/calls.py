"""How each command is carried out. What it takes is imported only then: most commands are short."""

from typing import Final

from bbs.cfdot.given import Given
from bbs.cfdot.main import More, Surroundings
from bbs.cfdot.table import Command
from bbs.cfdot.target import Target
from bbs.console.advice import advice
from bbs.console.choosing import settings
from bbs.console.table import BY_NAME


def call(command: Command, given: Given, target: Target, surroundings: Surroundings) -> None:
    """
    Raises:
      CommandFailed: it could not be carried out.
    """
    match command.name:
        case "targets":
            from bbs.console.listing_targets import list_targets

            list_targets(given, surroundings)
        case "cell" | "cells":
            from bbs.console.cells import call_cells

            call_cells(command.name, given, target, surroundings)
        case "lrp":
            from bbs.console.lrp import call_lrp

            call_lrp(given, target, surroundings)
        case _:
            raise NotImplementedError(command.name)


MORE: Final = More(BY_NAME, call, settings=settings, advice=advice)
