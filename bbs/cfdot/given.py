"""What a command was given, and the checks of it that need nothing else. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bbs.cfdot.errors import Invalid
from bbs.cfdot.flags import Flags
from bbs.cfdot.go_values import INT64_BITS, BadValue, parse_int


@dataclass(frozen=True, slots=True)
class Given:
    """``words`` is the whole command line: two spellings of one flag are looked for in it, wherever they stand."""

    flags: Flags
    words: Sequence[str]

    @property
    def arguments(self) -> Sequence[str]:
        return self.flags.arguments


Check = Callable[[Given], None]
"""Raises `Invalid` if a command can't be carried out with what it was given."""


def in_order(*checks: Check) -> Check:
    def check(given: Given) -> None:
        for each in checks:
            each(given)

    return check


def arguments(number: int) -> Check:
    """Exactly so many."""

    def check(given: Given) -> None:
        if len(given.arguments) < number:
            raise Invalid("Missing arguments")
        if len(given.arguments) > number:
            raise Invalid("Too many arguments specified")

    return check


def spec_of(what: str, *, arguments: int) -> Check:
    """Exactly so many arguments, the last of them a specification. ``what`` is the text for any other number."""

    def check(given: Given) -> None:
        if len(given.arguments) != arguments:
            raise Invalid(what)

    return check


def one_spelling(*pairs: tuple[str, str]) -> Check:
    """Of each pair, only one word may stand on the command line."""

    def check(given: Given) -> None:
        for short, long in pairs:
            if short in given.words and long in given.words:
                raise Invalid(f"Only one of {short} and {long} should be passed")

    return check


def task_guid(given: Given) -> None:
    """An empty guid counts as none."""
    if not given.arguments or not given.arguments[0]:
        raise Invalid("Missing arguments")
    arguments(1)(given)


def not_empty(text: str) -> Check:
    """The first argument. ``text`` is what is said if it is."""

    def check(given: Given) -> None:
        if not given.arguments[0]:
            raise Invalid(text)

    return check


process_guid: Final = not_empty("Process guid should be non empty string")


def index(text: str) -> int:
    """An index of an instance, which upstream's commands take as text."""
    try:
        number = parse_int(text, bits=INT64_BITS, any_base=False)
    except BadValue as error:
        raise Invalid("Index must be a non-negative integer") from error
    if number < 0:
        raise Invalid("Index must be a non-negative integer")
    return number


def index_argument(given: Given) -> None:
    index(given.arguments[1])


def index_flag(given: Given) -> None:
    if given.flags.text("index"):
        index(given.flags.text("index"))


def ttl_of_domain(given: Given) -> None:
    if given.flags.number("ttl") < 0:
        raise Invalid("ttl is negative")


def resource(given: Given) -> None:
    if not given.flags.text("key"):
        raise Invalid("key cannot be empty")
    if not given.flags.text("owner"):
        raise Invalid("owner cannot be empty")


def ttl_of_resource(given: Given) -> None:
    if given.flags.number("ttl") <= 0:
        raise Invalid("ttl should be an integer greater than zero")
