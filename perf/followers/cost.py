"""What followers cost whoever writes: the same writes as fast as they can be made, beside none, one, two, and one that hangs.

The followers are on the same machine, and what they use of its cores is not there for the writer. So how much CPU a batch takes
is told beside how long it takes: that is what followers cost a master on a machine of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import median
from typing import Final

from bbs.embedded_postgres import EmbeddedPostgres
from perf.figures import JSON, number, per_request_us, table
from perf.followers.lateness import LATE_MAX_S, Used
from perf.followers.processes import Followers
from perf.followers.writer import Writer, Written

ROUNDS: Final = 3
LEGS: Final = {"none": 0, "one": 1, "two": 2, "one that is stopped": 1}
"""By what there is beside the writer, how many followers that is."""

STOPPED: Final = "one that is stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    written: Written
    used: Used

    def figures(self) -> dict[str, float]:
        batches = len(self.written.batches_s)
        return {
            "batches/s": self.written.batches_per_s,
            "p50 ms": self.written.batch_ms(0.5),
            "p99 ms": self.written.batch_ms(0.99),
            "writer us": per_request_us(self.written.cpu_s, batches),
            "Postgres us": per_request_us(self.used.postgres_s - self.used.walsenders_s, batches),
            "walsenders us": per_request_us(self.used.walsenders_s, batches),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """By what there was beside the writer, a leg of each round."""

    legs: Mapping[str, Sequence[Leg]]

    def medians(self) -> dict[str, dict[str, float]]:
        return {
            name: {figure: median(each.figures()[figure] for each in legs) for figure in legs[0].figures()}
            for name, legs in self.legs.items()
        }

    def ratios(self) -> dict[str, dict[str, float]]:
        """Of each figure, to what it is without followers: the median over the rounds, each of which is compared within itself."""
        alone = [each.figures() for each in self.legs["none"]]
        return {
            name: {
                figure: median(
                    leg.figures()[figure] / one[figure] for leg, one in zip(legs, alone, strict=True)
                )
                for figure in alone[0]
                if all(one[figure] for one in alone)
            }
            for name, legs in self.legs.items()
        }

    def table(self) -> str:
        medians, ratios = self.medians(), self.ratios()
        head = ["beside the writer", "batches/s", "times", "p50 ms", "times", "p99 ms", "times"]
        head += ["writer us/batch", "times", "Postgres us/batch", "times", "walsenders us/batch"]
        rows = []
        for name, found in medians.items():
            row = [name]
            for figure, value in found.items():
                row.append(number(value, digits=1 if figure.endswith("ms") else 0))
                if figure != "walsenders us":
                    row.append(number(ratios[name].get(figure, float("nan")), digits=2))
            rows.append(row)
        return table(head, rows)

    def as_json(self) -> dict[str, JSON]:
        return {
            name: {
                "medians": {figure: round(value, 3) for figure, value in found.items()},
                "ratios": {figure: round(value, 3) for figure, value in self.ratios()[name].items()},
                "rounds": [
                    {figure: round(value, 3) for figure, value in leg.figures().items()}
                    for leg in self.legs[name]
                ],
            }
            for name, found in self.medians().items()
        }


def measure_cost(
    writer: Writer,
    pool: Followers,
    postgres: EmbeddedPostgres,
    *,
    for_s: float,
    rounds: int = ROUNDS,
    say: Callable[[str], None],
) -> Cost:
    """Every leg lasts ``for_s``; every other round goes backwards. Each leg ends when its followers have caught up."""
    legs: dict[str, list[Leg]] = {name: [] for name in LEGS}
    for round_ in range(rounds):
        for name in list(LEGS)[:: 1 if round_ % 2 else -1]:
            say(f"round {round_ + 1} of {rounds}: the writer beside {name}")
            followers = pool.exactly(LEGS[name])
            with followers[0].stopped() if name == STOPPED else nullcontext():
                before = Used.now(followers, postgres)
                written = writer.write(for_s=for_s, rows_per_s=None).result(for_s + LATE_MAX_S)
                legs[name].append(Leg(written=written, used=Used.now(followers, postgres) - before))
            for each in followers:
                each.wait_until_current(written.token)
    return Cost(legs=legs)
