"""The six event streams (spec: events.md §1): four merge the desired-LRP feed with one of the two ActualLRP feeds, two have
the task feed alone.

A subscription is the stream's source; `bbs.http` sends what comes from it and closes it. If it cannot be opened,
`CannotOpenStream` is raised, which the server answers with 500: streams have no response message to put an error in.
"""

from bbs.http.endpoints import Call, CannotOpenStream, EventStream
from bbs.models import pb
from bbs.models.errors import InvalidRequest
from bbs.models.events import Hub
from bbs.models.versions import Version
from bbs.models.wire import decode
from bbs.routes.bodies import must_not_be_too_large
from bbs.routes.context import Context
from bbs.sync.hubs.hub import HubClosed, Subscription

GROUP_FEEDS = frozenset({Hub.DESIRED, Hub.GROUP})
INSTANCE_FEEDS = frozenset({Hub.DESIRED, Hub.INSTANCE})
TASK_FEEDS = frozenset({Hub.TASK})


def lrp_stream(context: Context, feeds: frozenset[Hub], version: Version) -> EventStream:
    """A stream of desired-LRP events and those of one ActualLRP feed, for one cell if the request names it."""

    async def open_stream(call: Call) -> Subscription:
        try:
            must_not_be_too_large(pb.EventsByCellId, call.body)
            request = decode(pb.EventsByCellId, call.body)
            return context.hubs.subscribe(feeds, version=version, cell_id=request.cell_id)
        except (InvalidRequest, HubClosed) as error:
            raise CannotOpenStream from error

    return EventStream(open_stream)


def task_stream(context: Context, version: Version) -> EventStream:
    """A stream of task events. The request body is not looked at."""

    async def open_stream(call: Call) -> Subscription:
        try:
            return context.hubs.subscribe(TASK_FEEDS, version=version)
        except HubClosed as error:
            raise CannotOpenStream from error

    return EventStream(open_stream)
