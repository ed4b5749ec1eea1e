"""``bbs targets``: the named targets, which one is in use, and whether its files can be read."""

import json
from collections.abc import Sequence

from bbs.cfdot.columns import harmless
from bbs.cfdot.given import Given
from bbs.cfdot.main import Surroundings
from bbs.cfdot.table import output_form
from bbs.console.choosing import Choice, choose
from bbs.console.targets import EXAMPLE, NamedTarget, Targets, read_targets
from bbs.words.times import NOTHING

TITLES = ("TARGET", "IN USE", "URL", "LOCKET", "FILES")
IN_USE = "yes"
READABLE = "ok"
NOT_NEEDED = "none needed"


def list_targets(given: Given, surroundings: Surroundings) -> None:
    """
    Raises:
      Invalid: the file is wrong.
    """
    targets = read_targets(surroundings.environment)
    if given.flags.switch("names"):
        surroundings.show("".join(f"{name}\n" for name in targets.by_name))
        return
    choice = choose(targets, given.flags, surroundings.environment)
    form = output_form(given) or ("table" if surroundings.out.isatty() else "json")
    if form == "json":
        surroundings.show("".join(_line(target, choice) for target in targets.by_name.values()))
    else:
        surroundings.show(_for_people(targets, choice))


def _line(target: NamedTarget, choice: Choice) -> str:
    is_in_use = target is choice.target
    shown = {"name": target.name, "in_use": is_in_use, **target.settings, "problems": target.problems()}
    return f"{json.dumps(shown, ensure_ascii=False)}\n"


def _for_people(targets: Targets, choice: Choice) -> str:
    if not targets.by_name:
        return f"{targets.path} names no targets. Write it, for example:\n\n{EXAMPLE}"
    rows = [TITLES, *(_row(target, choice) for target in targets.by_name.values())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    told = f"\nThe file is {targets.path}. {_in_use(choice)}\n"
    return "".join(_laid_out(row, widths) for row in rows) + told


def _row(target: NamedTarget, choice: Choice) -> tuple[str, ...]:
    files = "; ".join(target.problems()) or (NOT_NEEDED if target.is_plain else READABLE)
    cells = (
        target.name,
        IN_USE if target is choice.target else NOTHING,
        target.settings["url"],
        target.settings.get("locket", NOTHING),
        files,
    )
    return tuple(map(harmless, cells))


def _laid_out(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"


def _in_use(choice: Choice) -> str:
    if choice.target is None:
        if choice.because == "no default":
            return "None is in use: it has no default. Take one with --target NAME or BBS_TARGET."
        return f"None is in use: {choice.because} says whom to talk to."
    why = "it is the default" if choice.because == "default" else f"{choice.because} says so"
    return f"{choice.target.name} is in use: {why}."
