"""Lists from bytes that records keep: the same as encoded afresh, made in idle turns, kept for those who ask."""

import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import ref

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from bbs.concurrency.turns import IDLE_HOLD_S
from bbs.http.endpoints import LatePieces
from bbs.http.error_answers import answer_bytes
from bbs.models.actual_lrp import LIST_ELEMENT, ActualLRP
from bbs.models.desired_lrp import SHARED_BYTES_MIN, DesiredLRP, desired_lrp_from_message
from bbs.models.outcome import Row, RowKey, put
from bbs.models.versions import with_metrics_guid
from bbs.models.wire import encode, frame
from bbs.routes.answers import SLICE_BYTES
from bbs.routes.forms import ACTUAL_LRPS, DESIRED_LRPS, ROUTING_INFOS, SCHEDULING_INFOS, Form
from bbs.routes.ready_lists import EXPECTED, FORMS, PAUSE_S, ReadyLists
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, MemoryBackend
from bbs.store.store import Store
from perf.workloads import seed_lrp
from tests.records import TAG, actual_lrp, desired_lrp

AFRESH: dict[Form[Any], Callable[[Any], Any]] = {
    ACTUAL_LRPS: ActualLRP.message,
    SCHEDULING_INFOS: DesiredLRP.scheduling_info,
    ROUTING_INFOS: DesiredLRP.routing_info,
    DESIRED_LRPS: lambda lrp: with_metrics_guid(lrp.message()),
}
GUIDS = ("a", "b", "c")
SOME_MS = 0.01
FORGET_S = 20.0


def afresh(form: Form[Any], records: Sequence[Any]) -> bytes:
    return b"".join(frame(LIST_ELEMENT, encode(AFRESH[form](record))) for record in records)


def a_store() -> Store:
    backend = MemoryBackend(Disk(), Keyring({"label": "key"}, "label"), on_dropped=lambda row: None)
    return Store(backend, publish=lambda announcements: None)


def fill(store: Store, lrps: int) -> None:
    for number in range(lrps):
        store.committed.apply([put(desired_lrp(f"p{number:04d}")), put(actual_lrp(f"p{number:04d}"))])


def records(store: Store, form: Form[Any]) -> list[Any]:
    if form.record_class is DesiredLRP:
        return list(store.committed.desired_lrps.in_order())
    return list(store.committed.actual_lrps.rows.values())


def kept(store: Store, form: Form[Any]) -> int:
    return sum(form.kept(record) is not None for record in records(store, form))


long_or_short = st.integers(0, 3 * SHARED_BYTES_MIN).map(lambda length: b'"%b"' % (b"x" * length))
routes = st.none() | st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4), long_or_short, min_size=1, max_size=4
).map(lambda values: tuple(sorted(values.items())))
desired = st.builds(
    lambda guid, routes, annotation, tags: replace(
        desired_lrp(guid, annotation=annotation, PlacementTags=tags), routes=routes
    ),
    st.sampled_from(GUIDS),
    routes,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    st.lists(st.sampled_from(["", "one", "two"]), max_size=2),
)
actual = st.builds(
    lambda guid, reason: actual_lrp(guid, crash_reason=reason),
    st.sampled_from(GUIDS),
    st.text("ab", max_size=9),
)
removed = st.builds(
    lambda row: ("remove", row), st.tuples(st.sampled_from((ActualLRP, DesiredLRP)), st.sampled_from(GUIDS))
)
steps = st.lists(
    st.one_of(
        desired,
        actual,
        removed,
        st.sampled_from(FORMS[:4]),  # it is listed
        st.just("idle"),
        st.just("forget"),
    ),
    max_size=25,
)


@settings(deadline=None)
@given(steps)
def test_whatever_has_happened_a_list_is_as_encoded_afresh(history: list[Any]) -> None:
    store = a_store()
    tables = store.committed

    async def live() -> None:
        ready = ReadyLists(store, forget_s=FORGET_S)
        sent: list[Sequence[bytes] | LatePieces] = []  # answers that are still being sent
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ready.run)
            for step in history:
                match step:
                    case "idle":
                        await trio.sleep(2 * PAUSE_S)
                    case "forget":
                        await trio.sleep(2 * FORGET_S)
                    case ("remove", (record_class, guid)):
                        key = guid if record_class is DesiredLRP else actual_lrp(guid).key
                        tables.apply([Row(RowKey(record_class, key), None)])
                    case Form():
                        snapshot = records(store, step)
                        answer = await ready.listed(step, snapshot, are_all=True)
                        assert b"".join(answer) == afresh(step, snapshot)
                        sent.append(answer)
                    case record:
                        tables.apply([put(record)])
            for form in AFRESH:
                snapshot = records(store, form)
                assert form.joined(snapshot) == afresh(form, snapshot)
                assert [form.bytes_of(one) for one in snapshot] == [afresh(form, [one]) for one in snapshot]
            nursery.cancel_scope.cancel()

    trio.run(live, clock=MockClock(autojump_threshold=0))


def test_forms_share_the_long_values_of_routes_with_their_record() -> None:
    long, short = b"x" * SHARED_BYTES_MIN, b"y" * (SHARED_BYTES_MIN - 1)
    lrp = replace(desired_lrp(), routes=(("a", short), ("b", long), ("c", long)))

    for parts in (lrp.parts, lrp.scheduling_info_parts, lrp.routing_info_parts):
        assert [part is long for part in parts] == [False, True, False, True, False]


def test_what_is_kept_of_a_benchmark_lrp_is_small() -> None:
    """Upstream's benchmark LRP: routes of 1,070 bytes, and 1,570 bytes as a whole."""
    lrp = desired_lrp_from_message(seed_lrp("p" * 73), tag=TAG, created_at_ns=1)

    def own_bytes(parts: tuple[bytes, ...]) -> int:
        shared = {id(value) for _, value in lrp.routes or ()}
        return sys.getsizeof(parts) + sum(sys.getsizeof(part) for part in parts if id(part) not in shared)

    assert own_bytes(lrp.scheduling_info_parts) < 500
    assert own_bytes(lrp.routing_info_parts) < 500
    assert own_bytes(lrp.parts) < 900


async def test_what_new_masters_are_asked_for_is_ready_and_nothing_else(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    store = a_store()
    fill(store, 200)
    nursery.start_soon(ReadyLists(store).run)
    await trio.sleep(SOME_MS)

    assert {form: kept(store, form) for form in AFRESH} == {
        form: 200 if form in EXPECTED else 0 for form in AFRESH
    }


async def test_what_changes_is_made_ready_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    store = a_store()
    fill(store, 10)
    nursery.start_soon(ReadyLists(store).run)
    await trio.sleep(SOME_MS)
    store.committed.apply([put(replace(records(store, ACTUAL_LRPS)[3], crash_count=1))])
    assert kept(store, ACTUAL_LRPS) == 9

    await trio.sleep(2 * PAUSE_S)

    assert kept(store, ACTUAL_LRPS) == 10


async def test_a_form_is_kept_for_as_long_as_somebody_asks(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    store = a_store()
    fill(store, 100)
    ready = ReadyLists(store, forget_s=FORGET_S)
    nursery.start_soon(ready.run)
    await trio.sleep(10 * FORGET_S)
    assert kept(store, ROUTING_INFOS) == 100  # a standby is asked for nothing, and keeps what is expected

    for _ in range(5):
        await ready.listed(DESIRED_LRPS, records(store, DESIRED_LRPS))
        await trio.sleep(FORGET_S / 2)
    fill(store, 100)
    await trio.sleep(2 * PAUSE_S)

    assert kept(store, DESIRED_LRPS) == 100
    assert [kept(store, form) for form in EXPECTED] == [0, 0, 0]

    await trio.sleep(FORGET_S)

    assert kept(store, DESIRED_LRPS) == 0


async def test_a_list_of_a_few_is_no_reason_to_make_all(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    store = a_store()
    fill(store, 100)
    ready = ReadyLists(store)
    nursery.start_soon(ready.run)

    await ready.listed(DESIRED_LRPS, records(store, DESIRED_LRPS)[:49])
    await trio.sleep(2 * PAUSE_S)

    assert kept(store, DESIRED_LRPS) == 49


async def test_it_holds_the_event_loop_for_no_longer_than_a_turn(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record takes 0.1 ms of a clock that only that moves; who waits to run is let in after 1 ms and one record."""
    record_s = 0.0001
    store = a_store()
    fill(store, 300)
    make = ACTUAL_LRPS.made

    def made(record: ActualLRP) -> bytes:
        autojump_clock.jump(record_s)
        return make(record)  # type: ignore[no-any-return]

    monkeypatch.setattr(ACTUAL_LRPS, "made", made)
    turns: list[float] = []

    class Steps(trio.abc.Instrument):
        def __init__(self) -> None:
            self.began = trio.current_time()  # the step that adds this is under way

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.began = trio.current_time()

        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            turns.append(trio.current_time() - self.began)

    instrument = Steps()
    trio.lowlevel.add_instrument(instrument)
    nursery.start_soon(ReadyLists(store).run)
    await trio.sleep(0.5)
    trio.lowlevel.remove_instrument(instrument)

    assert kept(store, ACTUAL_LRPS) == 300
    assert IDLE_HOLD_S <= max(turns) <= IDLE_HOLD_S + 2 * record_s


async def test_all_who_ask_at_once_are_given_the_same_bytes(autojump_clock: MockClock) -> None:
    store = a_store()
    fill(store, 1000)
    ready = ReadyLists(store)
    answers: list[Sequence[bytes] | LatePieces] = []

    async def ask() -> None:
        answers.append(await ready.listed(SCHEDULING_INFOS, records(store, SCHEDULING_INFOS), are_all=True))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)

    assert all(answer is answers[0] for answer in answers)


async def test_an_answer_is_shared_until_its_table_changes(autojump_clock: MockClock) -> None:
    store = a_store()
    fill(store, 100)
    ready = ReadyLists(store)
    ask = partial(ready.listed, SCHEDULING_INFOS, are_all=True)
    before = await ask(records(store, SCHEDULING_INFOS))

    store.committed.apply([put(actual_lrp("p0001", crash_count=3))])  # another table
    assert await ask(records(store, SCHEDULING_INFOS)) is before

    store.committed.apply([put(desired_lrp("p0001", instances=3))])
    after = await ask(records(store, SCHEDULING_INFOS))
    assert after is not before
    assert b"".join(after) == afresh(SCHEDULING_INFOS, records(store, SCHEDULING_INFOS))


async def test_one_who_asked_before_a_change_and_waited_does_not_spoil_it_for_those_after(
    autojump_clock: MockClock,
) -> None:
    store = a_store()
    fill(store, 10)
    ready = ReadyLists(store)
    early = records(store, ACTUAL_LRPS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(ready.listed, ACTUAL_LRPS, early, are_all=True))
        await wait_all_tasks_blocked()
    store.committed.apply([put(actual_lrp("new"))])

    late = records(store, ACTUAL_LRPS)
    assert b"".join(await ready.listed(ACTUAL_LRPS, late, are_all=True)) == afresh(ACTUAL_LRPS, late)


async def test_an_answer_that_has_been_sent_is_not_kept(autojump_clock: MockClock) -> None:
    store = a_store()
    fill(store, 100)
    ready = ReadyLists(store)
    answer = await ready.listed(ACTUAL_LRPS, records(store, ACTUAL_LRPS), are_all=True)
    is_there = ref(answer)
    del answer
    gc.collect()

    assert is_there() is None


@pytest.mark.parametrize("form", FORMS[:4])
@pytest.mark.parametrize("guid_bytes", [300, 9_000])
async def test_a_list_of_some_is_joined_while_it_is_sent(
    autojump_clock: MockClock, form: Form[Any], guid_bytes: int
) -> None:
    """With records that fill a slice together, and with some of which a few do. What changes meanwhile is not in it."""
    store = a_store()
    for number in range(1_000):
        guid = f"{number:0{guid_bytes}d}"
        store.committed.apply([put(desired_lrp(guid)), put(actual_lrp(guid))])
    snapshot = records(store, form)[1:]
    expected = afresh(form, snapshot)
    answer = await ReadyLists(store).listed(form, snapshot)

    assert isinstance(answer, LatePieces)
    assert answer_bytes(answer) == len(expected)
    pieces = list(answer)
    assert max(map(len, pieces)) <= 2 * SLICE_BYTES
    for record in snapshot:
        store.committed.apply([Row(RowKey(form.record_class, record.key), None)])
    assert b"".join(answer) == b"".join(pieces) == expected


async def test_slow_readers_of_everything_have_one_whole_answer_between_them(
    autojump_clock: MockClock,
) -> None:
    store = a_store()
    fill(store, 4_000)
    ready = ReadyLists(store)
    slow: list[Sequence[bytes] | LatePieces] = []
    for number in range(5):
        store.committed.apply([put(desired_lrp("p0001", instances=number))])
        slow.append(await ready.listed(DESIRED_LRPS, records(store, DESIRED_LRPS), are_all=True))

        assert b"".join(slow[-1]) == afresh(DESIRED_LRPS, records(store, DESIRED_LRPS))
    assert [isinstance(answer, LatePieces) for answer in slow] == [False, True, True, True, True]

    slow.clear()  # they are through, or dropped
    whole = await ready.listed(DESIRED_LRPS, records(store, DESIRED_LRPS), are_all=True)
    assert not isinstance(whole, LatePieces)
