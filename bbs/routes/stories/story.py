"""What the log says of one request: lines in sessions below its handler's (spec: metrics-and-logs.md §3.1).

A `Story` is put together when the request begins, from the rows as the handler is going to see them. The *work* is the
handler's one change of rows: some lines come before it, its session ends when it is durable or refused, others follow.

What can be told from the rows before the change is told so, since these are gone afterwards: which row a start supersedes,
say. Only what the decision alone knows waits for its outcome, in `Story.sequel`: which instances were created, whether
there is an auction.

Levels, names and data are upstream's, and so are the numbers of the sessions: each session counts those below it from 1.
The third request's handler is ``3.1``; it first reads rows, in session ``3.1.1``, and changes them in ``3.1.2``. The
second keeps its number where the first is left out because nobody wants lines at debug.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from bbs.log import Data, Level
from bbs.models.actual_lrp import ActualLRP
from bbs.models.errors import BBSError
from bbs.models.outcome import Outcome

Failures = Mapping[type[BBSError], str]
"""By the class of a refusal, the action that the log calls it."""


class Session(NamedTuple):
    """A session below the handler's. ``name`` and ``numbers`` have dots between them if it is more than one step below
    (``remove-desired.db-remove-desired-lrp``, ``2.1``); ``data`` is on all its lines.
    """

    name: str
    numbers: str
    data: Data


HANDLER: Final = Session("", "", {})
"""The handler's own session."""


def with_data(data: Data) -> Session:
    """The handler's own session, for lines that carry ``data`` as well."""
    return Session("", "", data)


class Line(NamedTuple):
    level: Level
    action: str
    session: Session = HANDLER
    data: Data | None = None
    """What this line carries besides its session's data."""
    error: str = ""
    """The text of the line's ``error``; '' if it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequel:
    """Lines that depend on the outcome of the work: ``after`` are written when it is durable, ``at_last`` when the handler
    has ended.
    """

    after: Sequence[Line] = ()
    at_last: Sequence[Line] = ()


@dataclass(slots=True, kw_only=True)
class Story:
    """The lines of one request, in the order in which they are written.

    ``before`` come first. ``work`` is the session of the change of rows, ``None`` if there is no change to tell of.
    ``opening`` are its first lines, written when the change has been decided. If the decision ignores the request, the one
    line that ``ignored`` makes takes the place of the whole work. ``ends`` is the work's last line, when the change is
    durable or refused. If it is durable ``after`` follow, then what ``sequel`` makes of the outcome. ``at_last`` come when
    the handler has ended, whatever came of it.

    If the change is refused, the error line in ``work`` is named by ``failures``, or by ``fails`` if the refusal's class is
    not there; '' writes no line. ``further`` is the level and action of one more line about the refusal, in ``further_at``;
    at level error it carries the error. ``late`` name refusals that come after the work was done, in the handler's session.
    """

    before: Sequence[Line] = ()
    work: Session | None = None
    opening: Sequence[Line] = ()
    ignored: Callable[[ActualLRP], Line] | None = None
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
    """The story of a request that only reads: two lines at debug, after ``before``."""
    first, last = whole(session, begins=begins)
    return Story(before=(*before, first), work=session, ends=last)


def changing(
    session: Session,
    *,
    level: Level = Level.INFO,
    before: Sequence[Line] = (),
    within: Iterable[Line] = (),
    ignored: Callable[[ActualLRP], Line] | None = None,
    after: Sequence[Line] = (),
    sequel: Callable[[Outcome], Sequel] | None = None,
    at_last: Sequence[Line] = (),
    failures: Failures | None = None,
    fails: str = "",
    further: tuple[Level, str] | None = None,
    further_at: Session = HANDLER,
    late: Failures | None = None,
) -> Story:
    """The story of a request that changes rows. ``within`` are written right after the first line of ``session``; for the
    rest see `Story`.
    """
    return Story(
        before=before,
        work=session,
        opening=(Line(level, "starting", session), *within),
        ignored=ignored,
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
