"""``bbs check-config FILE``: what a server would refuse the file for, and what it would start with all the same."""

import sys

from bbs.config.cautions import cautions
from bbs.config.checks import problems
from bbs.config.errors import ConfigInvalid
from bbs.config.upstream import decode, read_file

EXIT_PROBLEMS = 1
EXIT_UNREADABLE = 2


def check_config(path: str) -> int:
    """Print all problems and cautions; returns the exit code: 0 a server starts with it, 1 not, 2 it can't be read.

    What only a connection can tell (database, Locket) is not asked. Secrets are not printed.
    """
    try:
        decoded = decode(read_file(path))
    except ConfigInvalid as error:
        print(f"{path}: {error}", file=sys.stderr)
        return EXIT_UNREADABLE
    count = len(decoded.wrong)
    for wrong in decoded.wrong:
        print(f"{path}: error: {wrong.key} {wrong.explanation}")
    wrong_keys = {wrong.key for wrong in decoded.wrong}
    for problem in problems(decoded.config):
        if problem.key not in wrong_keys:
            count += 1
            print(f"{path}: error: {problem.key}: {problem.error or problem.action}; {problem.advice}")
    for caution in cautions(decoded.config, unknown=decoded.unknown, repeated=decoded.repeated):
        print(f"{path}: caution: {caution.key} {caution.text}")
    if count:
        print(f"{path}: a server would not start with this: {count} error{'s' if count > 1 else ''}")
        return EXIT_PROBLEMS
    print(f"{path}: a server starts with this")
    return 0
