"""``bbs check-config FILE``: what a server would refuse the file for, and what it would start with all the same."""

import sys
import traceback
from pathlib import Path
from typing import TextIO

from bbs.config.cautions import cautions
from bbs.config.checks import problems
from bbs.config.errors import ConfigInvalid
from bbs.config.upstream import decode, read_file

EXIT_PROBLEMS = 1
EXIT_UNREADABLE = 2

UNCHECKED = (
    "cannot be checked, which is a fault of this program's; please report it with the file, without secrets"
)


def check_config(path: str) -> int:
    """Print all problems and cautions; returns the exit code: 0 a server starts with it, 1 not, 2 it can't be read.

    What only a connection can tell (database, Locket) is not asked. Secrets are not printed.
    """
    try:
        return _report(path)
    except ConfigInvalid as error:
        _print(f"{path}: {error}", sys.stderr)
    except Exception as bug:
        # Nothing goes on after it. Whoever checks a file is to read a sentence, also about what nobody foresaw. Where it
        # happened, and not the exception's text, which may quote a value of the file.
        place = traceback.extract_tb(bug.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        _print(f"{path}: {UNCHECKED} ({type(bug).__name__} at {where})", sys.stderr)
    return EXIT_UNREADABLE


def _report(path: str) -> int:
    """
    Raises:
      ConfigUnreadable: there is no file, or no JSON object in it.
    """
    decoded = decode(read_file(path))
    count = len(decoded.wrong)
    for wrong in decoded.wrong:
        _print(f"{path}: error: {wrong.key} {wrong.explanation}")
    wrong_keys = {wrong.key for wrong in decoded.wrong}
    for problem in problems(decoded.config):
        # A value that could not be read counts as zero from there on. What a check says of that zero would be a second
        # complaint about the same key, and a misleading one.
        if wrong_keys.isdisjoint(problem.key.split(", ")):
            count += 1
            _print(f"{path}: error: {problem.key}: {problem.error or problem.action}; {problem.advice}")
    for caution in cautions(decoded.config, unknown=decoded.unknown, repeated=decoded.repeated):
        _print(f"{path}: caution: {caution.key} {caution.text}")
    if count:
        _print(f"{path}: a server would not start with this: {count} error{'s' if count > 1 else ''}")
        return EXIT_PROBLEMS
    _print(f"{path}: a server starts with this")
    return 0


def _print(line: str, stream: TextIO | None = None) -> None:
    """One line, whatever is in it: the file may hold what moves a terminal's cursor, or what it can't show."""
    stream = sys.stdout if stream is None else stream
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in line
    )
    encoding = stream.encoding or "ascii"
    print(shown.encode(encoding, "backslashreplace").decode(encoding), file=stream)
