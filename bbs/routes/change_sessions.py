"""The log's sessions for what a change of a DesiredLRP asks of peers, under upstream's names (spec: peers.md §2.3, §3)."""

from collections.abc import Callable
from functools import partial

from bbs.log import Data, Level, Logger
from bbs.routes.context import Context
from bbs.routes.handler_log import trace_data_of
from bbs.routes.http import Call


class ChangeSessions:
    """Below the handler's session ``name``, each made when it is needed: most changes ask nobody for anything.

    ``data`` is what all lines carry.
    """

    __slots__ = ("_call", "_context", "_data", "_name", "_number", "_say_started")

    def __init__(self, context: Context, call: Call, name: str, data: Data) -> None:
        self._context = context
        self._call = call
        self._name = name
        self._data = data
        self._number = 1  # the operation's session in the database has this one
        self._say_started: Callable[[], None] | None = None

    def scaled_by(self, instances: int) -> None:
        """The request was for that many instances more, or fewer."""
        self._data = {**self._data, "instances_delta": instances}

    def starting(self, lower: int, upper: int) -> Logger:
        """For the auction of the instances ``lower`` to ``upper`` - 1; tells that they are being started."""
        session = self._session("start-instance-range", {"lower": lower, "upper": upper})
        if session.enabled(Level.INFO):
            say = session.emitter()
            say(Level.INFO, session.message("starting"))
            self._say_started = partial(say, Level.INFO, session.message("complete"))
        return session

    def started(self) -> None:
        """Tell the end of what `starting` told the beginning of, if it was called."""
        if self._say_started is not None:
            self._say_started()

    def stopping(self, process_guid: str, first_index: int) -> Logger:
        """For stops of the instances from ``first_index`` on."""
        return self._session("stop-instances-from", {"process_guid": process_guid, "index": first_index})

    def updating(self, process_guid: str) -> Logger:
        """For updates of instances' routes and tags."""
        return self._session("updating-instances", {"process_guid": process_guid})

    def _session(self, name: str, data: Data) -> Logger:
        self._number += 1
        return self._context.log.descendant(
            f"request.{self._name}.{name}",
            f"{self._call.session}.1.{self._number}",
            {**trace_data_of(self._call), **self._data, **data},
        )
