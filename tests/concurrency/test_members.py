"""Members start in order and stop in reverse, whatever ends first (spec: config.md §4, §6)."""

import pytest
import trio
import trio.testing

from bbs.concurrency.members import Exit, Member, Ready, failures, run_members, trace


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
        async def run(stop: trio.Event, ready: Ready) -> None:
            self.entries.append(f"start {name}")
            with trio.move_on_after(ready_after_s):
                await stop.wait()
                self.entries.append(f"stopped early {name}")
                return
            ready()
            self.entries.append(f"ready {name}")
            if fails_after_s is not None:
                await trio.sleep(fails_after_s)
                self.entries.append(f"fail {name}")
                raise ValueError(f"{name} is broken")
            await stop.wait()
            await trio.sleep(stops_in_s)
            self.entries.append(f"stop {name}")

        return Member(name, run)

    def started(self) -> None:
        self.entries.append("started")


async def test_each_starts_when_the_one_before_is_ready_and_stops_when_the_one_after_has_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary, stop = Diary(), trio.Event()
    members = [diary.member(name, ready_after_s=1, stops_in_s=1) for name in "abc"]

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def stop_later() -> None:
            await trio.sleep(10)
            stop.set()

        exits = await run_members(members, stop=stop, on_started=diary.started)

    assert diary.entries == [
        "start a", "ready a", "start b", "ready b", "start c", "ready c", "started", "stop c", "stop b", "stop a",
    ]  # fmt: skip
    assert exits == [Exit("c", None), Exit("b", None), Exit("a", None)]
    assert trio.current_time() == pytest.approx(13)


async def test_a_member_that_ends_stops_the_others(autojump_clock: trio.testing.MockClock) -> None:
    diary = Diary()
    members = [diary.member("a"), diary.member("b", fails_after_s=5), diary.member("c")]

    exits = await run_members(members, stop=trio.Event(), on_started=diary.started)

    assert diary.entries[-4:] == ["started", "fail b", "stop c", "stop a"]
    assert trace(exits) == (
        "Exit trace for group:\nb exited with error: b is broken\nc exited with nil\na exited with nil\n"
    )
    assert [str(failure) for failure in failures(exits)] == ["b is broken"]


async def test_a_stop_while_one_is_not_ready_starts_no_other(autojump_clock: trio.testing.MockClock) -> None:
    diary, stop = Diary(), trio.Event()
    members = [diary.member("a"), diary.member("lock", ready_after_s=1e9), diary.member("server")]

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def stop_later() -> None:
            await trio.sleep(3)
            stop.set()

        exits = await run_members(members, stop=stop, on_started=diary.started)

    assert diary.entries == ["start a", "ready a", "start lock", "stopped early lock", "stop a", "started"]
    assert failures(exits) == []


async def test_one_that_fails_before_it_is_ready_counts_as_started_all_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    diary = Diary()

    async def refuse(stop: trio.Event, ready: Ready) -> None:
        raise OSError("address already in use")

    exits = await run_members(
        [diary.member("a"), Member("server", refuse), diary.member("c")],
        stop=trio.Event(),
        on_started=diary.started,
    )

    assert diary.entries == ["start a", "ready a", "stop a", "started"]
    assert [exit_.name for exit_ in exits] == ["server", "a"]


async def test_a_failure_inside_a_nursery_is_told_by_its_cause(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def refuse(stop: trio.Event, ready: Ready) -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def fail() -> None:
                raise OSError("no such host")

    exits = await run_members([Member("lock", refuse)], stop=trio.Event(), on_started=lambda: None)

    assert trace(exits) == "Exit trace for group:\nlock exited with error: no such host\n"
