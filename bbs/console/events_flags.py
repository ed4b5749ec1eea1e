"""``bbs events`` as a command: its flags, and what is checked before it is carried out. Pure."""

from typing import Final

from bbs.cfdot.errors import Invalid
from bbs.cfdot.flags import Flag, Kind
from bbs.cfdot.given import Given, arguments, in_order
from bbs.cfdot.table import Command, Peer

LRP_TYPES: Final = (
    "actual_lrp_crashed",
    "actual_lrp_instance_changed",
    "actual_lrp_instance_created",
    "actual_lrp_instance_removed",
    "desired_lrp_changed",
    "desired_lrp_created",
    "desired_lrp_removed",
)
TASK_TYPES: Final = ("task_changed", "task_created", "task_removed")
TYPES: Final = (*LRP_TYPES, *TASK_TYPES)


def types_of(given: Given) -> frozenset[str]:
    """Those asked for; all of them if none was named.

    Raises:
      Invalid: there is no such type.
    """
    named = frozenset(filter(None, (word.strip() for word in given.flags.text("type").split(","))))
    if unknown := sorted(named - set(TYPES)):
        raise Invalid(f"There is no event type '{unknown[0]}'. Please specify some of: {', '.join(TYPES)}")
    return named or frozenset(TYPES)


def is_followed(given: Given) -> bool:
    return given.flags.switch("follow") or given.flags.has("for")


def _check(given: Given) -> None:
    types_of(given)
    if given.flags.text("type") and not is_followed(given):
        raise Invalid("--type chooses among events to come: it needs --follow or --for")
    if given.flags.has("for") and given.flags.number("for") <= 0:
        raise Invalid("--for should be greater than zero")


EVENTS: Final = Command(
    use="events",
    short="Show what happens to instances and tasks, both event streams in one",
    long=(
        "Show what happens: the events of LRPs and of tasks in one output. A BBS keeps no history: without --follow this shows the"
        " last state of each instance and task that is there now, by the time since when it is so, and ends. With --follow it goes"
        " on when the server goes away: it says from when to when events may be missing, and what has changed meanwhile"
    ),
    peer=Peer.BBS_STREAM,
    own_flags=(
        Flag("follow", "show events as they come, until interrupted", Kind.BOOL, "f"),
        Flag("for", "follow for so long, such as 10s or 5m", Kind.DURATION),
        Flag("cell", "only what concerns the given cell", shorthand="c"),
        Flag("process-guid", "only what concerns the given process guid", shorthand="p"),
        Flag("type", f"only these types of events, by commas: {', '.join(TYPES)}", shorthand="t"),
    ),
    check=in_order(arguments(0), _check),
)
