"""Reads the locks, as ``make lock`` writes them: what is installed, with the hash of each file of it, and what asked for it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TOP: Final = Path(__file__).parent.parent
LOCKS: Final = TOP / "locks"

PROJECT: Final = "bbs (pyproject.toml)"
"""What asks for our own dependencies."""

_PIN: Final = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>.+?))? \\")
_HASH: Final = re.compile(r"    --hash=(sha256:[0-9a-f]{64})(?: \\)?")
_ASKED_BY: Final = re.compile(r"    #(?: via|  ) +(?P<name>\S.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """One version of one package. ``hashes`` are those of its wheels, for every system, and of its source; ``marker`` says for
    which Pythons it is, empty for all; ``asked_by`` are names of packages, or `PROJECT`.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    asked_by: tuple[str, ...]


def read(path: Path) -> list[Pinned]:
    """What the lock pins, in its order.

    Raises:
      ValueError: a line is none that ``make lock`` writes.
    """
    return list(_pins(path.read_text().splitlines()))


def _pins(lines: list[str]) -> Iterator[Pinned]:
    starts = [number for number, line in enumerate(lines) if not line.startswith((" ", "#"))]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        pin = _PIN.fullmatch(lines[start])
        if pin is None:
            raise ValueError(f"not a pinned version with hashes: {lines[start]}")
        hashes, asked_by = [], []
        for line in lines[start + 1 : end]:
            if found := _HASH.fullmatch(line):
                hashes.append(found[1])
            elif found := _ASKED_BY.fullmatch(line):
                if not found["name"].startswith("-c "):  # that only held it to a version
                    asked_by.append(found["name"])
            elif line != "    # via":
                raise ValueError(f"neither a hash nor who asked for {pin['name']}: {line}")
        yield Pinned(
            name=pin["name"],
            version=pin["version"],
            marker=pin["marker"] or "",
            hashes=tuple(hashes),
            asked_by=tuple(asked_by),
        )
