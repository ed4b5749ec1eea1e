"""``python -m perf followers``: lateness, cost and fan-out, one after the other, on databases of their own."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bbs.commands.local_keyring import KEYS_FILE
from bbs.embedded_postgres import EmbeddedPostgres, embedded_postgres_blocking
from perf.beds import Bed, ServerSpec, laid_bed
from perf.figures import JSON
from perf.followers.cost import Cost, measure_cost
from perf.followers.fan_out import FanOut, expect_room, measure_fan_out
from perf.followers.lateness import Lateness, lateness_table, measure_lateness
from perf.followers.processes import Followed, Followers
from perf.followers.writer import BATCH_ROWS, KEYS, Writer
from perf.machine import Moment, load_average
from perf.server import fresh_home, own_postgres

COST_SHARE: Final = 0.25
"""Of the seconds of a leg at a rate, how long each of the many legs without one lasts."""

WRITTEN_DATABASE: Final = "written"


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowersAccount:
    """``conditions`` says how busy the machine was."""

    lrps: int
    lateness: Sequence[Lateness]
    cost: Cost
    fan_out: FanOut
    conditions: str

    @property
    def troubles(self) -> list[str]:
        refused = [
            f"{each.followers} followers refused {each.refused} requests"
            for each in self.lateness
            if each.refused
        ]
        return [*refused, *self.fan_out.troubles]

    def report(self) -> str:
        return "\n".join(
            [
                self.conditions,
                "",
                f"lateness: {self.lrps:,} ActualLRPs, written again in batches of {BATCH_ROWS}, by a writer without requests",
                "",
                lateness_table(self.lateness),
                "",
                "cost to a writer that writes as fast as it can; the followers are on the same cores",
                "",
                self.cost.table(),
                "",
                f"fan-out: {self.fan_out.lrps} claims and starts, whose events all subscribers get",
                "",
                self.fan_out.table(),
                *(f"TROUBLE: {each}" for each in self.troubles),
            ]
        )

    def as_json(self) -> dict[str, JSON]:
        return {
            "conditions": self.conditions,
            "lrps": self.lrps,
            "lateness": [each.as_json() for each in self.lateness],
            "cost": self.cost.as_json(),
            "fan_out": self.fan_out.as_json(),
            "troubles": list[JSON](self.troubles),
        }


def measure_followers(
    *,
    lrps: int,
    rate: float,
    subscribers: int,
    seconds: float,
    rounds: int | None = None,
    say: Callable[[str], None],
) -> FollowersAccount:
    """``rate`` is in rows per second, ``seconds`` how long each leg at that rate lasts. ``rounds``, of the rest, are each
    measurement's own if None.

    Raises:
      room.TooFewDescriptors, room.TooLittleMemory: the machine has no room for the subscribers.
    """
    expect_room(subscribers)
    some_rounds = {} if rounds is None else {"rounds": rounds}
    load, before = load_average(), Moment.now()
    with (
        fresh_home() as home,
        embedded_postgres_blocking(home / "postgres") as postgres,
        laid_bed(ServerSpec(flags=("--database-url", postgres.dsn))) as bed,
    ):
        asyncio.run(_make_database(postgres))
        lateness, cost = _measure_writes(
            bed, postgres, home, lrps=lrps, rate=rate, seconds=seconds, some_rounds=some_rounds, say=say
        )
        with Followers(_followed(bed, postgres.dsn, _keys_of(bed)), home) as pool:
            fan_out = measure_fan_out(bed, pool, postgres, subscribers=subscribers, **some_rounds, say=say)
    others = Moment.now().others_since(before)
    return FollowersAccount(
        lrps=lrps,
        lateness=lateness,
        cost=cost,
        fan_out=fan_out,
        conditions=f"load average {load:.1f} at the start; others used {others:.2f} cores",
    )


def _measure_writes(
    bed: Bed,
    postgres: EmbeddedPostgres,
    home: Path,
    *,
    lrps: int,
    rate: float,
    seconds: float,
    some_rounds: dict[str, int],
    say: Callable[[str], None],
) -> tuple[list[Lateness], Cost]:
    """In a database beside that of the master of ``bed``, which has nothing to do meanwhile but to be the followers' Locket."""
    dsn = postgres.dsn_of(WRITTEN_DATABASE)
    with Writer(dsn, lrps) as writer:
        say(f"writing {lrps:,} LRPs")
        writer.fill()
        with Followers(_followed(bed, dsn, KEYS), home) as pool:
            lateness = [
                measure_lateness(
                    writer, pool.exactly(count), postgres, rows_per_s=rate, for_s=seconds, say=say
                )
                for count in (1, 2)
            ]
            cost = measure_cost(writer, pool, postgres, for_s=COST_SHARE * seconds, **some_rounds, say=say)
    return lateness, cost


async def _make_database(postgres: EmbeddedPostgres) -> None:
    async with own_postgres(postgres.socket_directory) as connection:
        await connection.execute(f"CREATE DATABASE {WRITTEN_DATABASE}")


def _followed(bed: Bed, dsn: str, keys: dict[str, Any]) -> Followed:
    assert bed.server is not None
    assert bed.cells is not None
    return Followed(
        dsn=dsn, keys=keys, locket=f"127.0.0.1:{bed.cells.locket_port}", certs=bed.server.certs_dir
    )


def _keys_of(bed: Bed) -> dict[str, Any]:
    assert bed.server is not None
    keys: dict[str, Any] = json.loads((bed.server.data_dir / KEYS_FILE).read_text())
    return keys
