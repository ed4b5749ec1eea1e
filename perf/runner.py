"""Runs scenarios on several servers, which take turns round by round, and keeps what was measured.

Servers of ours start anew for each scenario; all of them run at once, since an idle one costs next to nothing and the machine
is then the same for each. Every other round goes through them backwards, so that a machine that gets slower is not to
one server's disadvantage.
"""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from perf.beds import ServerSpec, laid_bed
from perf.figures import number
from perf.profiling import profiled
from perf.progress import Progress
from perf.readings import Outcome, Reading
from perf.scenarios.trial import Scenario, Sizes, Trial, WrongAnswer
from perf.streams import StreamsFailed

FAILURES = (WrongAnswer, StreamsFailed, OSError)
"""What ends a scenario on one server, and fails the run, but leaves the other scenarios worth their time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``servers`` by the name they have in the report; the first is what the others are compared to."""

    servers: Mapping[str, ServerSpec]
    scenarios: Sequence[Scenario]
    sizes: Sizes
    rounds: int
    profiles: Path | None = None

    def steps(self) -> int:
        return sum(
            len(self.taking_part(scenario)) * len(scenario.points_of(self.sizes)) * (2 + self.rounds)
            for scenario in self.scenarios
        )

    def taking_part(self, scenario: Scenario) -> dict[str, ServerSpec]:
        return {name: spec for name, spec in self.servers.items() if spec.is_own or not scenario.own_only}


def run(plan: Plan, progress: Progress) -> Outcome:
    """Run everything. What went wrong is in the outcome's troubles.

    Raises:
      ServerFailed, PeersFailed: a server of ours does not start, or has ended.
    """
    outcome = Outcome(servers=list(plan.servers), rounds=plan.rounds, facts=dict(machine()))
    for name, spec in plan.servers.items():
        outcome.facts[f"server {name}"] = _described(spec)
    for scenario in plan.scenarios:
        if scenario.axis:
            outcome.axes[scenario.name] = scenario.axis
        _run_scenario(plan, scenario, outcome, progress)
    outcome.facts["load average at the end"] = f"{os.getloadavg()[0]:.1f}"
    return outcome


def machine() -> dict[str, str]:
    """Under what conditions: a busy machine's figures are not a quiet one's."""
    return {
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load average at the start": f"{os.getloadavg()[0]:.1f}",
    }


def _run_scenario(plan: Plan, scenario: Scenario, outcome: Outcome, progress: Progress) -> None:
    with ExitStack() as stack:
        trials: dict[str, Trial] = {}
        for name, spec in plan.taking_part(scenario).items():
            progress.begin(f"{scenario.name}: setting up {name}")
            bed = stack.enter_context(
                laid_bed(spec, flags=scenario.flags, plain_auctions=scenario.plain_auctions)
            )
            if bed.server is not None:
                database = bed.server.database_settings("fsync", "synchronous_commit", "server_version")
                outcome.facts.update({f"Postgres {key}": value for key, value in database.items()})
            with _failing(trials, outcome, scenario, name):
                trials[name] = scenario.trial(bed, plan.sizes)
                stack.callback(_close, trials[name], outcome, f"{scenario.name}, {name}")
        for point in scenario.points_of(plan.sizes):
            _run_point(plan, scenario, point, trials, outcome, progress)


def _run_point(
    plan: Plan,
    scenario: Scenario,
    point: int | None,
    trials: dict[str, Trial],
    outcome: Outcome,
    progress: Progress,
) -> None:
    where = scenario.name if point is None else f"{scenario.name}, {point:,} {scenario.axis}"
    for name, trial in list(trials.items()):
        progress.begin(f"{where}: preparing {name}")
        with _failing(trials, outcome, scenario, name):
            trial.prepare(point)
        progress.done()
        progress.begin(f"{where}: warming up {name}")
        if name in trials:
            with _failing(trials, outcome, scenario, name):
                trial.warm_up()
        progress.done()
    for number_ in range(plan.rounds):
        turn = list(trials.items())
        for name, trial in turn if number_ % 2 == 0 else reversed(turn):
            progress.begin(f"{where}: round {number_ + 1} of {plan.rounds}, {name}")
            told = ""
            with _failing(trials, outcome, scenario, name):
                readings = trial.measure()
                outcome.add(scenario.name, point, name, readings)
                told = f"{name}: {_told(readings)}"
            progress.done(told)
    for name, trial in list(trials.items()):
        with _failing(trials, outcome, scenario, name):
            if plan.profiles is not None and trial.bed.probe.pid is not None:
                file = plan.profiles / f"{scenario.name}{'' if point is None else f'-{point}'}-{name}.svg"
                with profiled(trial.bed.probe.pid, file):
                    trial.measure()  # not counted: a profiler slows the server down
            trial.check()
        outcome.troubles += [f"{where}, {name}: {trouble}" for trouble in trial.troubles]
        trial.troubles.clear()


@contextmanager
def _failing(trials: dict[str, Trial], outcome: Outcome, scenario: Scenario, name: str) -> Iterator[None]:
    """Note a failure as a trouble of the run; the server takes no further part in this scenario."""
    try:
        yield
    except FAILURES as error:
        outcome.troubles.append(f"{scenario.name}, {name}: {error}")
        trials.pop(name, None)


def _close(trial: Trial, outcome: Outcome, where: str) -> None:
    try:
        trial.close()
    except FAILURES as error:
        outcome.troubles.append(f"{where}: at the end: {error}")


def _told(readings: Sequence[Reading]) -> str:
    return ", ".join(
        f"{reading.step} {number(reading.values[reading.headline], digits=1)} {reading.headline}"
        for reading in readings
    )


def _described(spec: ServerSpec) -> str:
    if spec.url is not None:
        return spec.url
    where = "" if spec.checkout is None else f" of {spec.checkout.name}"
    return " ".join([f"our own{where}", *spec.flags])
