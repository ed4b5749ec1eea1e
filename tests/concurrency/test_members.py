"""Members start in order and stop in reverse, whatever ends first (spec: config.md §4, §6)."""

import pytest
import trio
import trio.testing

from bbs.concurrency.members import Exit, Member, failures, run_members, trace


class Diary:
    """Members that write down what happens to them. ``fails`` names those that end by themselves, and when."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def member(
        self,
        name: str,
        *,
        ready_after_s: float = 0,
        fails_after_s: float | None = None,
        stops_in_s: float = 0,
    ) -> Member:
        async def run(*, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
            self.entries.append(f"start {name}")
            try:
                await trio.sleep(ready_after_s)
            except trio.Cancelled:
                self.entries.append(f"stopped early {name}")
                raise
            try:
                with trio.CancelScope() as until_stopped:
                    task_status.started(until_stopped)
                    self.entries.append(f"ready {name}")
                    if fails_after_s is not None:
                        await trio.sleep(fails_after_s)
                        self.entries.append(f"fail {name}")
                        raise ValueError(f"{name} is broken")
                    await trio.sleep_forever()
                await trio.sleep(stops_in_s)
            except trio.Cancelled:
                self.entries.append(f"broken off {name}")
                raise
            self.entries.append(f"stop {name}")

        return Member(name, run)

    def started(self) -> None:
        self.entries.append("started")


async def test_each_starts_when_the_one_before_is_ready_and_stops_when_the_one_after_has_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary, until_stopped = Diary(), trio.CancelScope()
    members = [diary.member(name, ready_after_s=1, stops_in_s=1) for name in "abc"]

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def stop_later() -> None:
            await trio.sleep(10)
            until_stopped.cancel()

        exits = await run_members(members, until_stopped=until_stopped, on_started=diary.started)

    assert diary.entries == [
        "start a", "ready a", "start b", "ready b", "start c", "ready c", "started", "stop c", "stop b", "stop a",
    ]  # fmt: skip
    assert exits == [Exit("c", None), Exit("b", None), Exit("a", None)]
    assert trio.current_time() == pytest.approx(13)


async def test_a_member_that_ends_stops_the_others(autojump_clock: trio.testing.MockClock) -> None:
    diary = Diary()
    members = [diary.member("a"), diary.member("b", fails_after_s=5), diary.member("c")]

    exits = await run_members(members, until_stopped=trio.CancelScope(), on_started=diary.started)

    assert diary.entries[-4:] == ["started", "fail b", "stop c", "stop a"]
    assert trace(exits) == (
        "Exit trace for group:\nb exited with error: b is broken\nc exited with nil\na exited with nil\n"
    )
    assert [str(failure) for failure in failures(exits)] == ["b is broken"]


async def test_a_stop_while_one_is_not_ready_starts_no_other(autojump_clock: trio.testing.MockClock) -> None:
    diary, until_stopped = Diary(), trio.CancelScope()
    members = [diary.member("a"), diary.member("lock", ready_after_s=1e9), diary.member("server")]

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def stop_later() -> None:
            await trio.sleep(3)
            until_stopped.cancel()

        exits = await run_members(members, until_stopped=until_stopped, on_started=diary.started)

    assert diary.entries == ["start a", "ready a", "start lock", "stopped early lock", "stop a", "started"]
    assert failures(exits) == []


async def test_a_stop_before_the_first_starts_none(autojump_clock: trio.testing.MockClock) -> None:
    diary, until_stopped = Diary(), trio.CancelScope()
    until_stopped.cancel()

    exits = await run_members([diary.member("a")], until_stopped=until_stopped, on_started=diary.started)

    assert diary.entries == ["started"]
    assert exits == []


async def test_one_without_a_scope_to_hand_over_is_stopped_by_cancelling_it_and_counts_as_ended_well(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary, until_stopped = Diary(), trio.CancelScope()

    async def serve(*, task_status: trio.TaskStatus[int]) -> None:
        task_status.started(8889)
        try:
            await trio.sleep_forever()
        finally:
            diary.entries.append("cancelled server")

    members = [diary.member("a", stops_in_s=1), Member("server", serve), diary.member("c", stops_in_s=1)]
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def stop_later() -> None:
            await trio.sleep(3)
            until_stopped.cancel()

        exits = await run_members(members, until_stopped=until_stopped, on_started=diary.started)

    assert diary.entries[-4:] == ["started", "stop c", "cancelled server", "stop a"]
    assert exits == [Exit("c", None), Exit("server", None), Exit("a", None)]


async def test_one_that_fails_in_the_moment_in_which_it_is_ready_lets_no_other_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()
    members = [diary.member("a"), Member("b", ready_and_fail), diary.member("c")]

    exits = await run_members(members, until_stopped=trio.CancelScope(), on_started=diary.started)

    assert diary.entries == ["start a", "ready a", "stop a", "started"]
    assert [exit_.name for exit_ in exits] == ["b", "a"]


async def ready_and_fail(*, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    raise ValueError("broken")


async def test_a_cancellation_breaks_all_off_at_once_and_their_orderly_ends_as_well(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary, until_stopped = Diary(), trio.CancelScope()
    members = [diary.member("a"), diary.member("b"), diary.member("c", stops_in_s=1e9)]

    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def stop_later() -> None:
                await trio.sleep(3)
                until_stopped.cancel()

            await run_members(members, until_stopped=until_stopped, on_started=diary.started)

    assert sorted(diary.entries[-3:]) == ["broken off a", "broken off b", "broken off c"]
    assert trio.current_time() == pytest.approx(10)


async def test_one_that_fails_before_it_is_ready_counts_as_started_all_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()

    async def refuse(*, task_status: trio.TaskStatus[None]) -> None:
        raise OSError("address already in use")

    exits = await run_members(
        [diary.member("a"), Member("server", refuse), diary.member("c")],
        until_stopped=trio.CancelScope(),
        on_started=diary.started,
    )

    assert diary.entries == ["start a", "ready a", "stop a", "started"]
    assert [exit_.name for exit_ in exits] == ["server", "a"]


async def test_a_failure_inside_a_nursery_is_told_by_its_cause(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def refuse(*, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def fail() -> None:
                raise OSError("no such host")

    exits = await run_members(
        [Member("lock", refuse)], until_stopped=trio.CancelScope(), on_started=lambda: None
    )

    assert trace(exits) == "Exit trace for group:\nlock exited with error: no such host\n"
