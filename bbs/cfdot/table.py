"""The commands, their flags, and what is checked before they are carried out (spec: client.md §5.2). Pure.

Names, usage lines, short helps and flags are upstream's: scripts, and people's memory, rely on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from bbs.cfdot import given as checks
from bbs.cfdot.errors import Invalid
from bbs.cfdot.flags import Flag, Kind
from bbs.cfdot.given import Check, in_order
from bbs.cfdot.target import BBS_FLAGS, LOCKET_FLAGS, TARGET, TIMEOUT


class Peer(Enum):
    """Whom a command talks to, and so which flags it has beside its own."""

    BBS = auto()
    BBS_STREAM = auto()
    """Event streams have no timeout."""
    LOCKET = auto()
    NOBODY = auto()


FLAGS_OF: Final[Mapping[Peer, tuple[Flag, ...]]] = {
    Peer.BBS: (*BBS_FLAGS, TIMEOUT),
    Peer.BBS_STREAM: BBS_FLAGS,
    Peer.LOCKET: LOCKET_FLAGS,
    Peer.NOBODY: (),
}


NONE: Final = checks.arguments(0)

OUTPUT: Final = Flag("output", "json, table or wide; a table at a terminal, else json", shorthand="o")
"""Only ``bbs`` has it: ``cfdot`` always writes lines of JSON."""
LOCKETS_LISTS: Final = frozenset({"locks", "presences"})
OUTPUT_FORMS: Final = ("json", "table", "wide")


WATCH: Final = Flag("watch", "redraw the tables in place, every 2 seconds, until interrupted", Kind.BOOL)
WATCH_S: Final = Flag("watch-s", "as --watch, every so many seconds", Kind.INT)
WATCH_FLAGS: Final = (WATCH, WATCH_S)
WATCH_DEFAULT_S: Final = 2
WATCHED: Final = frozenset(
    {
        *(
            "actual-lrp-groups",
            "actual-lrp-groups-for-guid",
            "actual-lrps",
            "cell",
            "cell-states",
            "cells",
            "desired-lrps",
        ),
        *("desired-lrp-scheduling-infos", "domains", "locks", "presences", "task", "tasks"),
    }
)
"""Those of upstream's commands which ``bbs`` can carry out again and again. ``cfdot`` has no flags for it."""


def watch_every_s(given: checks.Given) -> int:
    """0 if it is not to be watched.

    Raises:
      Invalid: not at least a second, or the output is to be JSON.
    """
    flags = given.flags
    if WATCH.name not in flags.defined or not (flags.switch(WATCH.name) or flags.has(WATCH_S.name)):
        return 0
    every_s = flags.number(WATCH_S.name) if flags.has(WATCH_S.name) else WATCH_DEFAULT_S
    if every_s < 1:
        raise Invalid("--watch-s should be at least 1")
    if output_form(given) == "json":
        raise Invalid(
            "--watch redraws tables: JSON can't be watched. For what changes, see the event streams"
        )
    return every_s


def output_form(given: checks.Given) -> str:
    """'' if nothing was asked for.

    Raises:
      Invalid: there is no such form.
    """
    form = given.flags.text(OUTPUT.name) if given.flags.has(OUTPUT.name) else ""
    if given.flags.has(OUTPUT.name) and form not in OUTPUT_FORMS:
        raise Invalid(f"There is no output '{form}'. Please specify one of: {', '.join(OUTPUT_FORMS)}")
    return form


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """``use`` begins with the name. ``long`` is shown by ``--help``. ``deprecated`` is the advice that a deprecated command gives.
    ``below`` are names and shorts of commands that have this one before their names. Not every usage line ``tells_flags``.
    """

    use: str
    short: str
    long: str
    peer: Peer = Peer.BBS
    own_flags: tuple[Flag, ...] = ()
    check: Check = NONE
    deprecated: str = ""
    below: tuple[tuple[str, str], ...] = ()
    tells_flags: bool = True
    watched: bool = False
    """Whether ``--watch`` carries it out again and again; see also `WATCHED`."""

    @property
    def is_watched(self) -> bool:
        return self.watched or self.name in WATCHED

    @property
    def name(self) -> str:
        return self.use.partition(" ")[0]

    @property
    def flags(self) -> tuple[Flag, ...]:
        return (*FLAGS_OF[self.peer], *self.own_flags, Flag("help", f"help for {self.name}", Kind.BOOL, "h"))

    def flags_as(self, program: str) -> tuple[Flag, ...]:
        """Those that it has under this name. Streams write lines of JSON for everybody, and most of what asks Locket nothing."""
        if program != "bbs" or self.peer is Peer.NOBODY:
            return self.flags
        if self.peer is not Peer.BBS and self.name not in LOCKETS_LISTS:
            return (*self.flags, TARGET)
        return (*self.flags, TARGET, OUTPUT, *(WATCH_FLAGS if self.is_watched else ()))


def _only(what: str, name: str, shorthand: str, told: str, kind: Kind = Kind.STRING) -> Flag:
    return Flag(name, f"retrieve only {what} for the given {told}", kind, shorthand)


def _domain(what: str) -> Flag:
    return _only(what, "domain", "d", "domain")


def _claimed(what: str, value_of: str) -> tuple[Flag, ...]:
    return (
        Flag("key", f"the key of the {what} being claimed", shorthand="k"),
        Flag("owner", f"the {what} owner", shorthand="o"),
        Flag("value", f"the value associated with the {value_of}", shorthand="v"),
        Flag("ttl", f"the TTL for the {what}", Kind.INT, "t"),
    )


SPELT_TWICE: Final = {
    "domain": ("-d", "--domain"),
    "cell": ("-c", "--cell-id"),
    "key": ("-k", "--key"),
    "owner": ("-o", "--owner"),
    "value": ("-v", "--value"),
    "ttl": ("-t", "--ttl"),
}


def _one_spelling(*names: str) -> Check:
    return checks.one_spelling(*(SPELT_TWICE[name] for name in names))


ONE: Final = checks.arguments(1)
ONE_GUID: Final = in_order(ONE, checks.process_guid)
CLAIM: Final = in_order(
    NONE, _one_spelling("key", "owner", "value", "ttl"), checks.resource, checks.ttl_of_resource
)
SPEC_FORMS: Final = "either JSON or, after an @, the name of a file with JSON"

COMMANDS: Final = (
    Command(
        use="actual-lrp-groups",
        short='[DEPRECATED] use "actual-lrps" command instead. List actual LRP groups',
        long="List actual LRP groups from the BBS",
        own_flags=(_domain("actual lrps"), _only("actual lrps", "cell-id", "c", "cell id")),
        deprecated='use "actual-lrps" instead.',
    ),
    Command(
        use="actual-lrp-groups-for-guid PROCESS_GUID",
        short='[DEPRECATED] use "actual-lrps" command with the "--process-guid" flag instead. List actual LRP groups for a'
        " process guid",
        long="List actual LRP groups of one process guid; actual-lrp-groups shows which guids there are",
        own_flags=(Flag("index", "retrieve actual lrp for the given index", shorthand="i"),),
        check=in_order(ONE_GUID, checks.index_flag),
        deprecated='use "actual-lrps" with the "--process-guid" flag instead.',
    ),
    Command(
        use="actual-lrps",
        short="List actual LRPs",
        long="List actual LRPs from the BBS",
        own_flags=(
            _domain("actual lrps"),
            _only("actual lrps", "cell-id", "c", "cell id"),
            _only("actual lrps", "process-guid", "p", "process guid"),
            _only("actual lrps", "index", "i", "index", Kind.INT32),
        ),
    ),
    Command(
        use="cancel-task TASK_GUID",
        short="Cancel task",
        long="Cancel the specified task",
        check=checks.task_guid,
    ),
    Command(
        use="cell CELL_ID",
        short="Show the specified cell presence",
        long="Show the cell presence specified by the given cell id",
        check=ONE,
    ),
    Command(
        use="cell-state CELL_ID",
        short="Show the specified cell state",
        long="Show the cell state specified by the given cell id",
        check=ONE,
    ),
    Command(
        use="cell-states",
        short="Show cell states for all cells",
        long="Show the cell state for all the cells",
    ),
    Command(
        use="cells",
        short="List registered cell presences",
        long="List registered cell presences from the BBS",
    ),
    Command(
        use="claim-lock",
        short="Claim Locket lock",
        long="Claims a Locket lock with the given key, owner, and optional value",
        peer=Peer.LOCKET,
        own_flags=_claimed("lock", "key"),
        check=CLAIM,
    ),
    Command(
        use="claim-presence",
        short="Claim Locket presence",
        long="Claims a Locket presence with the given key, owner, and optional value",
        peer=Peer.LOCKET,
        own_flags=_claimed("presence", "presence"),
        check=CLAIM,
    ),
    Command(
        use="create-desired-lrp (SPEC|@FILE)",
        short="Create a desired LRP",
        long=f'Create a desired LRP. Its spec is {SPEC_FORMS}, such as \'{{"process_guid":"some-guid"}}\'',
        check=checks.spec_of("missing spec argument", arguments=1),
    ),
    Command(
        use="create-task (SPEC|@FILE)",
        short="Create a Task",
        long=f'Create a Task. Its spec is {SPEC_FORMS}, such as \'{{"task_guid":"some-guid"}}\'',
        check=checks.spec_of("missing spec argument", arguments=1),
    ),
    Command(
        use="delete-desired-lrp PROCESS_GUID",
        short="Delete a desired LRP",
        long="Delete a desired LRP with the given process guid.",
        check=ONE_GUID,
    ),
    Command(
        use="delete-task TASK_GUID",
        short="Delete a Task",
        long="Delete a Task with the given task guid.",
        check=ONE_GUID,
    ),
    Command(
        use="desired-lrp PROCESS_GUID",
        short="Show the specified desired LRP",
        long="Show the desired LRP specified by the given process GUID",
        check=ONE_GUID,
    ),
    Command(
        use="desired-lrp-scheduling-infos",
        short="List desired LRP scheduling infos",
        long="List desired LRP scheduling infos from the BBS",
        own_flags=(_domain("scheduling infos"),),
        check=in_order(_one_spelling("domain"), NONE),
    ),
    Command(
        use="desired-lrps",
        short="List desired LRPs",
        long="List desired LRPs from the BBS",
        own_flags=(_domain("desired lrps"),),
        check=in_order(_one_spelling("domain"), NONE),
    ),
    Command(
        use="domains",
        short="List domains",
        long="List fresh domains from the BBS",
    ),
    Command(
        use="help CMD",
        short="Get help on [command]",
        long="Get help on using cfdot commands",
        peer=Peer.NOBODY,
    ),
    Command(
        use="locks",
        short="List Locket locks",
        long="List locks from Locket",
        peer=Peer.LOCKET,
    ),
    Command(
        use="lrp-events",
        short="Subscribe to BBS LRP events",
        long="Subscribe to BBS LRP events",
        peer=Peer.BBS_STREAM,
        own_flags=(
            _only("events", "cell-id", "c", "cell id"),
            Flag("exclude-actual-lrp-groups", "exclude actual lrp group events", Kind.BOOL, "x"),
        ),
    ),
    Command(
        use="presences",
        short="List Locket presences",
        long="List presences registered in Locket",
        peer=Peer.LOCKET,
    ),
    Command(
        use="release-lock",
        short="Release Locket lock",
        long="Releases a Locket lock with the given key and owner",
        peer=Peer.LOCKET,
        own_flags=(
            # Upstream's spelling, which a comparison of usage texts sees.
            Flag("key", "the key of the lock being releaseed", shorthand="k"),
            Flag("owner", "the lock owner", shorthand="o"),
        ),
        check=in_order(NONE, _one_spelling("key", "owner"), checks.resource),
    ),
    Command(
        use="retire-actual-lrp PROCESS_GUID INDEX",
        short="Retire actual LRP by index and process guid",
        long="Retire actual LRP by index and process guid",
        check=in_order(checks.arguments(2), checks.process_guid, checks.index_argument),
    ),
    Command(
        use="set-domain DOMAIN",
        short="Set domain",
        long="Mark a domain as fresh for ttl seconds, where 0 or non-specified means keep fresh permanently",
        own_flags=(Flag("ttl", "ttl of domain", Kind.DURATION, "t"),),
        check=in_order(ONE, checks.not_empty("No domain given"), checks.ttl_of_domain),
    ),
    Command(
        use="task TASK_GUID",
        short="Display task",
        long="Retrieve the specified task",
        check=checks.task_guid,
    ),
    Command(
        use="task-events",
        short="Subscribe to BBS Task events",
        long="Subscribe to BBS Task events",
        peer=Peer.BBS_STREAM,
    ),
    Command(
        use="tasks",
        short="List tasks in BBS",
        long="List all tasks in BBS",
        own_flags=(_domain("tasks"), _only("tasks", "cell-id", "c", "cell-id")),
        check=in_order(_one_spelling("domain", "cell"), NONE),
    ),
    Command(
        use="update-desired-lrp process-guid (SPEC|@FILE)",
        short="Update a desired LRP",
        long=f"Update a desired LRP. The update is {SPEC_FORMS}, such as '{{\"instances\":4}}'",
        check=checks.spec_of("Missing arguments", arguments=2),
    ),
)

BY_NAME: Final[Mapping[str, Command]] = {command.name: command for command in COMMANDS}
