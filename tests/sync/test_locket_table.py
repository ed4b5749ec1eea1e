"""The rules of a Locket server: spec: locking-and-presence.md §1."""

import math
from collections.abc import Callable

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bbs.sync.locket import table as locket_table
from bbs.sync.locket.client import Code, LocketError, Resource, TypeCode
from bbs.sync.locket.table import Change, LocalLocket, LocketTable, expire_on_time

TTL_S = 15


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(clock: Clock) -> LocketTable:
    return LocketTable(clock)


def lock(owner: str = "a", *, key: str = "bbs") -> Resource:
    return Resource.lock(key, owner=owner)


def cell(key: str, *, owner: str = "rep", value: str = "{}") -> Resource:
    return Resource.presence(key, owner=owner, value=value)


def typed(type_code: int, name: str = "lock") -> Resource:
    return Resource(key="bbs", owner="a", type=name, type_code=type_code)


Act = Callable[[LocketTable], object]


@pytest.mark.parametrize(
    ("act", "code", "description"),
    [
        pytest.param(lambda t: t.lock(lock("b"), ttl_s=TTL_S), "AlreadyExists", "lock-collision", id="lock of another"),
        pytest.param(lambda t: t.release(lock("b")), "AlreadyExists", "lock-collision", id="release of another"),
        pytest.param(lambda t: t.lock(lock(), ttl_s=0), "InvalidArgument", "invalid-ttl", id="no time"),
        pytest.param(lambda t: t.lock(lock(), ttl_s=-1), "InvalidArgument", "invalid-ttl", id="less than no time"),
        pytest.param(lambda t: t.lock(lock(""), ttl_s=TTL_S), "InvalidArgument", "invalid-owner", id="no owner"),
        pytest.param(lambda t: t.lock(typed(0), ttl_s=TTL_S), "NotFound", "invalid-type", id="type by name only"),
        pytest.param(lambda t: t.lock(typed(3), ttl_s=TTL_S), "NotFound", "invalid-type", id="unknown type"),
        pytest.param(lambda t: t.fetch_all(0), "NotFound", "invalid-type", id="all of no type"),
        pytest.param(lambda t: t.fetch_all(3), "NotFound", "invalid-type", id="all of an unknown type"),
        pytest.param(lambda t: t.fetch("nobody's"), "NotFound", "resource-not-found", id="nobody's"),
        pytest.param(
            lambda t: t.lock(lock(key="k" * 256), ttl_s=TTL_S),
            "Unknown",
            "ERROR: value too long for type character varying(255) (SQLSTATE 22001)",
            id="long key",
        ),
        pytest.param(
            lambda t: t.lock(lock("o" * 256, key="k"), ttl_s=TTL_S),
            "Unknown",
            "ERROR: value too long for type character varying(255) (SQLSTATE 22001)",
            id="long owner",
        ),
        pytest.param(
            lambda t: t.lock(cell("c", value="v" * 4097), ttl_s=TTL_S),
            "Unknown",
            "ERROR: value too long for type character varying(4096) (SQLSTATE 22001)",
            id="long value",
        ),
        pytest.param(
            lambda t: t.lock(cell("c", value="\0"), ttl_s=TTL_S),
            "Unknown",
            'ERROR: invalid byte sequence for encoding "UTF8": 0x00 (SQLSTATE 22021)',
            id="NUL",
        ),
    ],
)  # fmt: skip
def test_what_is_refused_changes_nothing(table: LocketTable, act: Act, code: str, description: str) -> None:
    table.lock(lock("a"), ttl_s=TTL_S)

    with pytest.raises(LocketError) as refused:
        act(table)

    assert (refused.value.code, refused.value.description) == (code, description)
    assert str(refused.value) == f"rpc error: code = {code} desc = {description}"
    assert table.fetch_all(TypeCode.LOCK) == [lock("a")]
    assert table.fetch_all(TypeCode.PRESENCE) == []
    assert table.next_expiry() == 1000 + TTL_S


def test_what_just_fits_its_column_is_taken(table: LocketTable) -> None:
    longest = cell("é" * 255, owner="o" * 255, value="é" * 4096)

    table.lock(longest, ttl_s=TTL_S)

    assert table.fetch("é" * 255) == longest


def test_a_renewal_by_the_same_owner_replaces_value_type_and_time(table: LocketTable, clock: Clock) -> None:
    table.lock(cell("c", owner="a"), ttl_s=5)
    clock.now_s += 4
    table.lock(Resource(key="c", owner="a", type="", type_code=TypeCode.LOCK), ttl_s=5)

    clock.now_s += 4.9
    assert table.fetch("c") == lock("a", key="c")
    assert table.fetch_all(TypeCode.PRESENCE) == []

    clock.now_s += 0.1
    with pytest.raises(LocketError, match="resource-not-found"):
        table.fetch("c")


@pytest.mark.parametrize("how", ["released", "expired"])
def test_what_its_owner_left_is_anybodys(table: LocketTable, clock: Clock, how: str) -> None:
    table.lock(lock("a"), ttl_s=TTL_S)

    if how == "released":
        table.release(lock("a"))
    else:
        clock.now_s += TTL_S
    table.lock(lock("b"), ttl_s=TTL_S)

    assert table.fetch("bbs").owner == "b"


def test_releasing_what_nobody_holds_succeeds(table: LocketTable, clock: Clock) -> None:
    table.release(lock("a"))
    table.lock(lock("b"), ttl_s=1)
    clock.now_s += 1

    table.release(lock("a"))


def test_a_late_owner_does_not_undo_a_new_ones_lock(table: LocketTable, clock: Clock) -> None:
    table.lock(lock("a"), ttl_s=1)
    clock.now_s += 1
    table.lock(lock("b"), ttl_s=TTL_S)

    with pytest.raises(LocketError, match="lock-collision"):
        table.lock(lock("a"), ttl_s=1)
    with pytest.raises(LocketError, match="lock-collision"):
        table.release(lock("a"))

    assert table.fetch("bbs").owner == "b"


def test_a_full_table_takes_no_more_but_renews(table: LocketTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locket_table, "ROWS_MAX", 2)
    table.lock(cell("c1"), ttl_s=TTL_S)
    table.lock(cell("c2"), ttl_s=TTL_S)

    with pytest.raises(LocketError) as refused:
        table.lock(cell("c3"), ttl_s=TTL_S)

    assert refused.value.code == Code.RESOURCE_EXHAUSTED
    table.lock(cell("c2"), ttl_s=TTL_S)


def test_observers_hear_of_what_comes_and_goes_and_not_of_renewals(table: LocketTable, clock: Clock) -> None:
    heard: list[Change] = []
    c1, c2 = cell("c1"), cell("c2")

    with table.observed(heard.append):
        table.lock(c1, ttl_s=5)
        table.lock(c2, ttl_s=10)
        table.lock(c1, ttl_s=5)
        table.release(c1)
        clock.now_s += 10
        table.expire(clock())
    table.lock(c1, ttl_s=5)

    assert heard == [Change(c1, True), Change(c2, True), Change(c1, False), Change(c2, False)]


def test_observers_hear_when_something_is_due_earlier_than_they_knew(
    table: LocketTable, clock: Clock
) -> None:
    heard: list[float | None] = []

    with table.observed(on_earlier_expiry=lambda: heard.append(table.next_expiry())):
        table.lock(cell("c1"), ttl_s=10)
        table.lock(cell("c2"), ttl_s=20)
        table.lock(cell("c3"), ttl_s=5)
        table.lock(cell("c2"), ttl_s=1)

    assert heard == [1010, 1005, 1001]


class AgreesWithALog(RuleBasedStateMachine):
    """The table against the obvious: what was locked when, and for how long."""

    keys = st.sampled_from(["x", "y", "z"])
    owners = st.sampled_from(["a", "b"])
    type_codes = st.sampled_from([TypeCode.LOCK, TypeCode.PRESENCE])

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.table = LocketTable(self.clock)
        self.held: dict[str, tuple[Resource, float]] = {}
        self.heard: dict[str, Resource] = {}
        self.observing = self.table.observed(self.hear)
        self.observing.__enter__()

    def hear(self, change: Change) -> None:
        if change.is_present:
            assert change.resource.key not in self.heard
            self.heard[change.resource.key] = change.resource
        else:
            assert self.heard.pop(change.resource.key).owner == change.resource.owner

    def live(self) -> dict[str, tuple[Resource, float]]:
        return {key: held for key, held in self.held.items() if held[1] > self.clock.now_s}

    @rule(key=keys, owner=owners, type_code=type_codes, ttl_s=st.integers(1, 5), value=st.sampled_from("12"))
    def lock(self, key: str, owner: str, type_code: TypeCode, ttl_s: int, value: str) -> None:
        name = {TypeCode.LOCK: "lock", TypeCode.PRESENCE: "presence"}[type_code]
        resource = Resource(key=key, owner=owner, value=value, type=name, type_code=type_code)
        holder = self.live().get(key)
        if holder is not None and holder[0].owner != owner:
            with pytest.raises(LocketError, match="lock-collision"):
                self.table.lock(resource, ttl_s=ttl_s)
        else:
            self.table.lock(resource, ttl_s=ttl_s)
            self.held[key] = (resource, self.clock.now_s + ttl_s)

    @rule(key=keys, owner=owners)
    def release(self, key: str, owner: str) -> None:
        holder = self.live().get(key)
        if holder is not None and holder[0].owner != owner:
            with pytest.raises(LocketError, match="lock-collision"):
                self.table.release(lock(owner, key=key))
        else:
            self.table.release(lock(owner, key=key))
            self.held.pop(key, None)

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.5]))
    def pass_time(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule()
    def expire(self) -> None:
        self.table.expire(self.clock.now_s)
        assert set(self.heard) == set(self.live())
        assert self.table.next_expiry() == min((due for _, due in self.live().values()), default=None)

    @invariant()
    def lists_agree(self) -> None:
        for type_code in (TypeCode.LOCK, TypeCode.PRESENCE):
            expected = {key: held for key, (held, _) in self.live().items() if held.type_code == type_code}
            assert {found.key: found for found in self.table.fetch_all(type_code)} == expected


AgreesWithALog.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestAgreesWithALog = AgreesWithALog.TestCase


# In virtual time.


async def test_what_is_due_goes_without_anybody_asking(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    table = LocketTable(trio.current_time)
    began_s = trio.current_time()
    gone: list[tuple[str, float]] = []

    def note(change: Change) -> None:
        if not change.is_present:
            gone.append((change.resource.key, round(trio.current_time() - began_s, 6)))

    with table.observed(note):
        nursery.start_soon(expire_on_time, table)
        await trio.sleep(1)  # nothing to wait for
        table.lock(cell("late"), ttl_s=60)
        table.lock(cell("renewed"), ttl_s=10)
        await trio.sleep(1)
        table.lock(cell("renewed"), ttl_s=10)
        table.lock(cell("shortened"), ttl_s=100)
        await trio.sleep(1)
        table.lock(cell("shortened"), ttl_s=1)
        await trio.sleep(100)

    assert gone == [("shortened", 4), ("renewed", 12), ("late", 61)]


@pytest.mark.parametrize(
    ("deadline_s", "wait_for_ready", "took_s", "code"),
    [
        pytest.param(None, False, 0, Code.UNAVAILABLE, id="fails fast"),
        pytest.param(3, False, 0, Code.UNAVAILABLE, id="fails fast, in time"),
        pytest.param(3, True, 3, Code.DEADLINE_EXCEEDED, id="waits in vain"),
        pytest.param(20, True, 10, None, id="waits"),
        pytest.param(math.inf, True, 10, None, id="waits, for ever if need be"),
        pytest.param(0, True, 0, Code.DEADLINE_EXCEEDED, id="no time at all"),
    ],
)
async def test_a_local_locket_out_of_reach(
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    deadline_s: float | None,
    wait_for_ready: bool,
    took_s: float,
    code: Code | None,
) -> None:
    table = LocketTable(trio.current_time)
    locket = LocalLocket(table)
    locket.unreachable = True
    began_s = trio.current_time()

    async def come_back() -> None:
        await trio.sleep(10)
        locket.unreachable = False

    nursery.start_soon(come_back)
    found: str | None = None
    try:
        await locket.lock(lock(), ttl_s=TTL_S, deadline_s=deadline_s, wait_for_ready=wait_for_ready)
    except LocketError as error:
        found = error.code

    assert found == code
    assert trio.current_time() - began_s == pytest.approx(took_s)
    assert (table.row("bbs") is None) == (code is not None)


async def test_local_lockets_of_one_table_see_the_same(autojump_clock: trio.testing.MockClock) -> None:
    table = LocketTable(trio.current_time)
    near, cut_off = LocalLocket(table), LocalLocket(table)
    cut_off.unreachable = True

    await near.lock(cell("c1"), ttl_s=TTL_S, deadline_s=1, wait_for_ready=False)

    with pytest.raises(LocketError, match="Unavailable"):
        await cut_off.fetch("c1", deadline_s=1)
    cut_off.unreachable = False
    assert await cut_off.fetch("c1", deadline_s=1) == cell("c1")
    assert await cut_off.fetch_all(TypeCode.PRESENCE, deadline_s=1) == [cell("c1")]
    await cut_off.release(cell("c1"))
    assert await near.fetch_all(TypeCode.PRESENCE, deadline_s=1) == []
