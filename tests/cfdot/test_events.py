"""Streams that end and fail as they are told to, in virtual time: what is shown of them, and how the command ends."""

import io
from collections.abc import Sequence
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from bbs.cfdot.errors import CommandFailed
from bbs.cfdot.events import lrp_events, task_events
from bbs.cfdot.rendering import JSONLines, Result
from bbs.client import (
    BBSClient,
    EndOfStream,
    Event,
    EventSourceError,
    InvalidEventPayload,
    RawSourceError,
    TransportError,
)
from bbs.models import pb
from bbs.models.errors import UnknownError

Told = Sequence[tuple[float, Event | EventSourceError]]
"""What a stream has to tell, and when."""

CREATED = Event("desired_lrp_created", pb.DesiredLRPCreatedEvent())
GROUP = Event("actual_lrp_removed", pb.ActualLRPRemovedEvent())
INSTANCE = Event("actual_lrp_instance_removed", pb.ActualLRPInstanceRemovedEvent())
CRASHED = Event("actual_lrp_crashed", pb.ActualLRPCrashedEvent())
BROKEN = RawSourceError("raw event source error: broken")


class Source:
    def __init__(self, told: Told) -> None:
        self._told = list(told)
        self.is_closed = False

    async def next(self) -> Event:
        at_s, what = self._told.pop(0)
        await trio.sleep_until(at_s)
        if isinstance(what, Event):
            return what
        raise what

    async def __aenter__(self) -> "Source":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.is_closed = True


class Streams:
    """A client whose streams tell what they are given; ``None`` can't be had."""

    def __init__(self, *, groups: Told | None = (), instances: Told | None = ()) -> None:
        self._told = {"groups": groups, "instances": instances}
        self.sources: dict[str, Source] = {}
        self.cell_ids: list[str] = []

    async def subscribe_to_events(self, *, cell_id: str) -> Source:
        return self._subscribe("groups", cell_id)

    async def subscribe_to_instance_events(self, *, cell_id: str) -> Source:
        return self._subscribe("instances", cell_id)

    async def subscribe_to_task_events(self) -> Source:
        return self._subscribe("instances", "")

    def _subscribe(self, name: str, cell_id: str) -> Source:
        told = self._told[name]
        if told is None:
            raise TransportError(f"no {name}")
        self.cell_ids.append(cell_id)
        self.sources[name] = Source([(at_s + trio.current_time(), what) for at_s, what in told])
        return self.sources[name]

    def client(self) -> BBSClient:
        return cast(BBSClient, self)


class Shown:
    """Keeps what is flushed; after ``reads`` results nobody reads any more."""

    def __init__(self, reads: int = 1000) -> None:
        self._unseen: list[str] = []
        self.names: list[str] = []
        self._reads = reads

    def show(self, result: Result) -> None:
        assert isinstance(result, Event)
        self._unseen.append(result.name)

    def flush(self) -> None:
        if len(self.names) >= self._reads:
            raise BrokenPipeError
        self.names += self._unseen
        self._unseen.clear()

    def warn(self, text: str) -> None:
        raise AssertionError(text)


async def test_both_streams_are_told_once_each_and_in_time(autojump_clock: MockClock) -> None:
    streams = Streams(
        groups=[(1, CREATED), (3, GROUP), (5, CRASHED), (9, EndOfStream())],
        instances=[(1, CREATED), (2, INSTANCE), (5, CRASHED), (7, EndOfStream())],
    )
    shown = Shown()

    await lrp_events(streams.client(), shown, cell_id="c1", with_groups=True)

    assert shown.names == [event.name for event in (CREATED, INSTANCE, GROUP, CRASHED)]
    assert streams.cell_ids == ["c1", "c1"]
    assert all(source.is_closed for source in streams.sources.values())


async def test_without_groups_there_is_one_stream(autojump_clock: MockClock) -> None:
    streams = Streams(groups=None, instances=[(1, INSTANCE), (2, EndOfStream())])
    shown = Shown()

    await lrp_events(streams.client(), shown, cell_id="", with_groups=False)

    assert (shown.names, set(streams.sources)) == ([INSTANCE.name], {"instances"})


async def test_a_stream_that_fails_does_not_end_the_other(autojump_clock: MockClock) -> None:
    streams = Streams(groups=[(1, BROKEN)], instances=[(2, INSTANCE), (3, EndOfStream())])
    shown = Shown()

    with pytest.raises(CommandFailed) as failed:
        await lrp_events(streams.client(), shown, cell_id="", with_groups=True)

    assert shown.names == [INSTANCE.name]
    assert (failed.value.exit_code, str(failed.value)) == (
        5,
        "2 errors occurred:\n\t* raw event source error: broken\n\t* EOF\n\n",
    )


async def test_one_stream_that_fails(autojump_clock: MockClock) -> None:
    streams = Streams(instances=[(1, InvalidEventPayload("bad"))])

    with pytest.raises(CommandFailed, match=r"^1 error occurred:\n\t\* bad\n\n$"):
        await lrp_events(streams.client(), Shown(), cell_id="", with_groups=False)


@pytest.mark.parametrize("missing", ["groups", "instances"])
async def test_a_stream_that_cannot_be_had(missing: str, autojump_clock: MockClock) -> None:
    streams = Streams(**{missing: None})

    with pytest.raises(UnknownError, match=f"^no {missing}$"):
        await lrp_events(streams.client(), Shown(), cell_id="", with_groups=True)

    assert all(source.is_closed for source in streams.sources.values())


async def test_nobody_reads_the_events(autojump_clock: MockClock) -> None:
    streams = Streams(groups=[(1, GROUP), (9, GROUP)], instances=[(2, INSTANCE), (9, INSTANCE)])

    with pytest.raises(BrokenPipeError):
        await lrp_events(streams.client(), Shown(reads=1), cell_id="", with_groups=True)

    assert all(source.is_closed for source in streams.sources.values())


async def test_task_events(autojump_clock: MockClock) -> None:
    event = Event("task_created", pb.TaskCreatedEvent())
    shown = Shown()
    await task_events(Streams(instances=[(1, event), (2, EndOfStream())]).client(), shown)
    assert shown.names == ["task_created"]

    with pytest.raises(CommandFailed, match=r"^raw event source error: broken$"):
        await task_events(Streams(instances=[(1, event), (2, BROKEN)]).client(), shown)
    with pytest.raises(UnknownError, match=r"^no instances$"):
        await task_events(Streams(instances=None).client(), shown)


def test_the_line_of_an_event() -> None:
    """The sample of spec/client.md §5.2."""
    crashed = pb.ActualLRPCrashedEvent(
        actual_lrp_key=pb.ActualLRPKey(process_guid="p", domain="d"),
        actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid="i", cell_id="c"),
        crash_reason="a&b",
    )
    out = io.BytesIO()
    lines = JSONLines(out, io.BytesIO())

    lines.show(Event("actual_lrp_crashed", crashed))
    lines.show("cf-apps")

    assert out.getvalue().decode() == (
        '{"type":"actual_lrp_crashed","data":{"process_guid":"p","index":0,"domain":"d","instance_guid":"i",'
        '"cell_id":"c","crash_count":0,"crash_reason":"a\\u0026b","since":0}}\n"cf-apps"\n'
    )
