"""``bbs lrp GUID``: all about one app, and with ``--follow`` what happens to it from then on.

A BBS keeps no history. What rows tell of the past is shown: since when each is as it is, how often it has crashed and why the
last time, and how often it was changed. The rest is to come, so ``--follow`` subscribes first, shows the app, and goes on with
its events. When the stream ends it says so and shows the app anew, since nobody can tell what happened in between.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio

from bbs.cfdot.bbs_calls import client_config, refused
from bbs.cfdot.columns import harmless
from bbs.cfdot.errors import CommandFailed, Refused
from bbs.cfdot.given import Given
from bbs.cfdot.main import Surroundings, form_for
from bbs.cfdot.rendering import json_of, written
from bbs.cfdot.target import Target
from bbs.client import (
    BadEventSourceResponse,
    BBSClient,
    Event,
    EventSourceError,
    InvalidClientConfig,
    TransportError,
    UnrecognizedEventType,
    new_trace_id,
)
from bbs.console.choice import Choice
from bbs.console.events_flags import LRP_TYPES
from bbs.console.lrp_json import document
from bbs.models.errors import BBSError, ResourceNotFound
from bbs.words.app import App

PAUSE_S: Final = 1.0
PAUSE_MAX_S: Final = 30.0
"""Between two subscriptions: twice as long each time, until one has worked."""


async def ask(client: BBSClient, process_guid: str) -> App:
    """Ask for all that belongs to one app, one after another.

    Raises:
      BBSError, TransportError: the BBS does not answer, or refuses.
    """
    trace_id = new_trace_id()
    try:
        desired = await client.desired_lrp_by_process_guid(process_guid, trace_id=trace_id)
    except ResourceNotFound:
        desired = None
    rows = await client.actual_lrps(process_guid=process_guid, trace_id=trace_id)
    domains = await client.domains(trace_id=trace_id)
    cells = await client.cells(trace_id=trace_id)
    return App(
        process_guid=process_guid,
        desired=desired,
        rows=sorted(rows, key=lambda row: (row.actual_lrp_key.index, row.presence)),
        fresh_domains=frozenset(domains),
        cells={cell.cell_id: cell for cell in cells},
        seen_ns=time.time_ns(),
    )


@dataclass(frozen=True, slots=True)
class Show:
    """How an app, its events, and words about the stream are written: for a person, or as lines of JSON."""

    surroundings: Surroundings
    form: str

    def app(self, app: App) -> None:
        if self.form == "json":
            self._write(f"{document(app)}\n")
            return
        from bbs.cfdot.people import drawn
        from bbs.console.lrp_view import view

        parts = view(app, wide=self.form == "wide")
        self._write(drawn(self.surroundings.out, self.surroundings.environment, *parts))

    def event(self, event: Event) -> None:
        if self.form == "json":
            self._write(f"{json_of(event)}\n")
        else:
            from bbs.cfdot.people import drawn, event_line

            line = event_line(event, time.time_ns())
            self._write(drawn(self.surroundings.out, self.surroundings.environment, line))

    def word(self, text: str) -> None:
        """Something about the stream, which is no part of the results."""
        self.surroundings.tell(f"{harmless(text)}\n")

    def _write(self, text: str) -> None:
        with written():
            self.surroundings.out.write(text.encode())
            self.surroundings.out.flush()


def call_lrp(given: Given, target: Target, surroundings: Surroundings) -> None:
    """
    Raises:
      CommandFailed: the BBS can't be asked, or knows nothing of the app.
    """
    trio.run(_call_lrp, given, target, Show(surroundings, form_for(given, surroundings)))


async def _call_lrp(given: Given, target: Target, show: Show) -> None:
    guid = given.arguments[0]
    try:
        async with BBSClient.connect(client_config(target)) as client:
            if given.flags.switch("follow"):
                await _follow(client, guid, show)
            app = await ask(client, guid)
            if not app.is_known:
                raise Refused(
                    f"Nothing is known of '{guid}': it is not desired, and there are no instances of it"
                )
            show.app(app)
    except BBSError as error:
        raise refused(error) from error
    except (TransportError, InvalidClientConfig) as error:
        raise CommandFailed(str(error)) from error


async def _follow(client: BBSClient, guid: str, show: Show) -> None:
    """Until it is interrupted. What goes wrong before the first view ends it; after that it connects again."""
    pause_s, is_shown = PAUSE_S, False

    def subscribed() -> None:
        nonlocal pause_s, is_shown
        pause_s, is_shown = PAUSE_S, True

    while True:
        try:
            await _follow_one_stream(client, guid, show, subscribed)
        except (TransportError, BadEventSourceResponse, BBSError, EventSourceError) as error:
            if not is_shown:
                if isinstance(error, BadEventSourceResponse):
                    raise CommandFailed(str(error)) from error
                raise
            show.word(f"no events: {error}; connecting again in {pause_s:g} s")
        await trio.sleep(pause_s)
        pause_s = min(2 * pause_s, PAUSE_MAX_S)


async def _follow_one_stream(
    client: BBSClient, guid: str, show: Show, subscribed: Callable[[], None]
) -> None:
    """Subscribe, show the app as it is then, and show its events until the stream ends."""
    concerned = Choice(types=frozenset(LRP_TYPES), process_guid=guid)
    async with await client.subscribe_to_instance_events(once=True) as source:
        show.app(await ask(client, guid))
        subscribed()
        while True:
            try:
                event = await source.next()
            except UnrecognizedEventType:
                continue
            if concerned.has_event(event, ()):
                show.event(event)
