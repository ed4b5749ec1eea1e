"""The log's sessions for what a change of a DesiredLRP asks of peers, under upstream's names (spec: peers.md §2.3, §3)."""

from bbs.http.endpoints import Call
from bbs.log import Data, Logger
from bbs.routes.context import Context
from bbs.routes.handler_log import trace_data_of


class ChangeSessions:
    """Below the handler's session ``name``, each made when it is needed: most changes ask nobody for anything.

    ``data`` is what all lines carry, and ``number`` that of the session in which instances are started or stopped, as the
    request's story has it (`bbs.routes.stories.desired_lrps`).
    """

    __slots__ = ("_call", "_context", "_data", "_name", "_number")

    def __init__(self, context: Context, call: Call, name: str, data: Data, *, number: int) -> None:
        self._context = context
        self._call = call
        self._name = name
        self._data = data
        self._number = number

    def scaled_by(self, instances: int) -> None:
        """The request was for that many instances more, or fewer."""
        self._data = {**self._data, "instances_delta": instances}

    def starting(self, lower: int, upper: int) -> Logger:
        """For the auction of the instances ``lower`` to ``upper`` - 1."""
        return self._below_story("start-instance-range", {"lower": lower, "upper": upper})

    def stopping(self, process_guid: str, first_index: int) -> Logger:
        """For stops of the instances from ``first_index`` on."""
        about = {"process_guid": process_guid, "index": first_index}
        return self._below_story("stop-instances-from", about)

    def updating(self, process_guid: str) -> Logger:
        """For updates of instances' routes and tags."""
        return self._session("updating-instances", self._number + 1, {"process_guid": process_guid})

    def _below_story(self, name: str, data: Data) -> Logger:
        session = self._session(name, self._number, data)
        session.next_number()  # the story has the first, for what is said of rows
        return session

    def _session(self, name: str, number: int, data: Data) -> Logger:
        return self._context.log.descendant(
            f"request.{self._name}.{name}",
            f"{self._call.session}.1.{number}",
            {**trace_data_of(self._call), **self._data, **data},
        )
