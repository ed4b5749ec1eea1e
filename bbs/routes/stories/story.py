"""What the log says of one request: lines in sessions below its handler's (spec: metrics-and-logs.md §3.1).

A `Story` is put together when the request begins, from the rows as the handler is going to see them. The *work* is its
one change of rows: some lines come before it, its session ends when it is durable or refused, others follow.

Levels, names and data are upstream's, and so are the numbers of the sessions: each counts its own from 1.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from bbs.log import Data, Level
from bbs.models.errors import BBSError
from bbs.models.outcome import Outcome

Failures = Mapping[type[BBSError], str]
"""What refusals are called, by their class."""


class Session(NamedTuple):
    """A session below the handler's: name and numbers from there on, and the data of its lines."""

    name: str
    numbers: str
    data: Data


HANDLER: Final = Session("", "", {})
"""The handler's own session."""


def with_data(data: Data) -> Session:
    """The handler's own session, with data."""
    return Session("", "", data)


class Line(NamedTuple):
    level: Level
    action: str
    session: Session = HANDLER
    data: Data | None = None
    """What this line has besides its session's data."""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequel:
    """Lines that only the outcome of the work tells: at once, and when the handler has ended."""

    after: Sequence[Line] = ()
    at_last: Sequence[Line] = ()


@dataclass(slots=True, kw_only=True)
class Story:
    """``work`` is the session in which the change of rows is told, if there is one, and its failure.

    ``failures`` say what a refusal of a class is called there, at error, and ``fails`` what any other is; '' says
    nothing. ``further`` is one more line about a refusal, in ``further_at``; it carries the error if it is one.
    ``late`` are refusals that come after the work was done, told in the handler's session.
    """

    before: Sequence[Line] = ()
    work: Session | None = None
    ends: Line | None = None
    after: Sequence[Line] = ()
    sequel: Callable[[Outcome], Sequel] | None = None
    at_last: Sequence[Line] = ()
    failures: Failures | None = None
    fails: str = ""
    further: tuple[Level, str] | None = None
    further_at: Session = HANDLER
    late: Failures | None = None


NOTHING: Final = Story()


def whole(session: Session, level: Level = Level.DEBUG, *, begins: str = "starting") -> tuple[Line, Line]:
    """The two lines of a session in which nothing else is said."""
    return Line(level, begins, session), Line(level, "complete", session)


def reading(session: Session, *, begins: str = "starting", before: Iterable[Line] = ()) -> Story:
    """A read, told at debug."""
    first, last = whole(session, begins=begins)
    return Story(before=(*before, first), work=session, ends=last)


def changing(
    session: Session,
    *,
    level: Level = Level.INFO,
    before: Iterable[Line] = (),
    within: Iterable[Line] = (),
    after: Sequence[Line] = (),
    sequel: Callable[[Outcome], Sequel] | None = None,
    at_last: Sequence[Line] = (),
    failures: Failures | None = None,
    fails: str = "",
    further: tuple[Level, str] | None = None,
    further_at: Session = HANDLER,
    late: Failures | None = None,
) -> Story:
    """A change of rows. ``within`` is said right after its session has begun."""
    return Story(
        before=(*before, Line(level, "starting", session), *within),
        work=session,
        ends=Line(level, "complete", session),
        after=after,
        sequel=sequel,
        at_last=at_last,
        failures=failures,
        fails=fails,
        further=further,
        further_at=further_at,
        late=late,
    )
