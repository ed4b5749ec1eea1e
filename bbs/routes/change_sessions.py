"""The log's sessions for what a change of a DesiredLRP asks of peers, under upstream's names (spec: peers.md §2.3, §3)."""

from bbs.http.endpoints import Call
from bbs.log import Data, Logger
from bbs.models.outcome import Effect, RequestAuction, StopInstance
from bbs.routes.context import Context
from bbs.routes.handler_log import trace_data_of


class ChangeSessions:
    """Below the handler's session ``name``, each made when it is needed: most changes ask nobody for anything.

    ``data`` is what all lines carry, and ``number`` that of the session in which instances are started or stopped. It has
    to be the one in the request's story (`bbs.routes.stories.desired_lrps`): both write into the same session, and an
    operator follows it by its number. The session that updates instances comes after it. ``starts`` are the indices that
    the request may start, if that is known from the beginning; else `scaled` says so, before the first session is asked for.
    """

    __slots__ = ("_call", "_context", "_data", "_name", "_number", "_process_guid", "_starts", "_stops_from")

    def __init__(
        self,
        context: Context,
        call: Call,
        name: str,
        process_guid: str,
        data: Data,
        *,
        number: int,
        starts: range = range(0),
    ) -> None:
        self._context = context
        self._call = call
        self._name = name
        self._process_guid = process_guid
        self._data = data
        self._number = number
        self._starts = starts
        self._stops_from = 0

    def scaled(self, before: int, after: int) -> None:
        """The request has said how many instances there are to be: that many more, or fewer, than before."""
        self._data = {**self._data, "instances_delta": after - before}
        self._starts, self._stops_from = range(before, after), after

    def of(self, effect: Effect) -> Logger:
        """The session in which ``effect`` is told."""
        match effect:
            case RequestAuction():
                return self.starting()
            case StopInstance():
                return self.stopping()
            case _:
                return self.updating()

    def starting(self) -> Logger:
        """For the auction of new instances."""
        return self._below_story(
            "start-instance-range", {"lower": self._starts.start, "upper": self._starts.stop}
        )

    def stopping(self) -> Logger:
        """For stops of instances."""
        about = {"process_guid": self._process_guid, "index": self._stops_from}
        return self._below_story("stop-instances-from", about)

    def updating(self) -> Logger:
        """For updates of instances' routes and tags: the session after the one in which instances are started or stopped."""
        return self._session("updating-instances", self._number + 1, {"process_guid": self._process_guid})

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
