"""Runs scenarios on several servers, which take turns round by round, and keeps what was measured.

Servers of ours start anew for each scenario; all of them run at once, since an idle one costs next to nothing and the machine
is then the same for each. Every other round goes through them backwards, so that a machine that gets slower is not to
one server's disadvantage.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from perf import machine
from perf.beds import ServerSpec, laid_bed
from perf.cells import CellsFailed
from perf.figures import number
from perf.interruption import take_as_heard
from perf.peers import PeersFailed
from perf.profiling import profiled
from perf.progress import Progress
from perf.reach import require_answer
from perf.readings import Conditions, Outcome, Reading
from perf.rows import NotAList
from perf.scenarios.trial import Scenario, Sizes, Trial, WrongAnswer
from perf.server import ServerFailed
from perf.streams import StreamsFailed

FAILURES = (WrongAnswer, StreamsFailed, CellsFailed, NotAList, OSError)
"""What ends a scenario on one server, and fails the run, but leaves the other scenarios worth their time."""

NO_CELLS = (
    "server {}: without locket=HOST:PORT no cell is registered; unless cell-0 and up are, one per 500 LRPs, convergence takes the"
    " fleet for lost after half a minute"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``servers`` by the name they have in the report; the first is what the others are compared to. ``command_line`` is how
    to do the same again.
    """

    servers: Mapping[str, ServerSpec]
    scenarios: Sequence[Scenario]
    sizes: Sizes
    rounds: int
    profiles: Path | None = None
    command_line: str = ""

    def steps(self) -> int:
        return sum(
            len(self.taking_part(scenario)) * len(scenario.points_of(self.sizes)) * (2 + self.rounds)
            for scenario in self.scenarios
        )

    def expected_s(self) -> float:
        """Roughly; see `Takes`."""
        return sum(
            len(self.taking_part(scenario)) * scenario.expected_s(self.sizes, rounds=self.rounds)
            for scenario in self.scenarios
        )

    def taking_part(self, scenario: Scenario) -> dict[str, ServerSpec]:
        return {name: spec for name, spec in self.servers.items() if not self.lacking(scenario, spec)}

    @staticmethod
    def lacking(scenario: Scenario, spec: ServerSpec) -> list[str]:
        """What is not known of the server that the scenario needs."""
        if spec.is_own:
            return []
        if scenario.own_only:
            return ["to be started and stopped by the harness"]
        return [f"{name}=" for name in scenario.needs if name not in spec.known]


def run(plan: Plan, progress: Progress) -> Outcome:
    """Run everything. What went wrong is in the outcome's troubles; after Ctrl-C the outcome has what was measured before.

    Raises:
      ServerFailed, PeersFailed: a server of ours does not start, or has ended, before anything was measured.
      NoAnswer: one that was given by URL can't be measured.
    """
    outcome = Outcome(
        servers=list(plan.servers),
        rounds=plan.rounds,
        command_line=plan.command_line,
        facts=dict(machine.facts()),
    )
    outcome.facts["load average at the start"] = f"{machine.load_average():.1f}"
    if warning := machine.why_not_quiet():
        _warn(outcome, progress, warning)
    for name, spec in plan.servers.items():
        outcome.facts[f"server {name}"] = _described(spec)
        if not spec.is_own:
            require_answer(name, spec.credentials())
            if "locket" not in spec.known:
                _warn(outcome, progress, NO_CELLS.format(name))
    outcome.facts["load"] = (
        f"{plan.sizes.connections} connections, mutual TLS, {plan.sizes.lrps:,} LRPs where nothing grows;"
        f" rounds that count, interleaved: {plan.rounds}"
    )
    try:
        for scenario in plan.scenarios:
            outcome.about[scenario.name] = scenario.what
            if scenario.axis:
                outcome.axes[scenario.name] = scenario.axis
            for name, spec in plan.servers.items():
                if lacking := plan.lacking(scenario, spec):
                    _warn(
                        outcome,
                        progress,
                        f"{scenario.name} is left out on {name}, for want of {', '.join(lacking)}",
                    )
            with _conditions(outcome, scenario, progress), _ended(outcome, scenario):
                _run_scenario(plan, scenario, outcome, progress)
    except KeyboardInterrupt:
        outcome.interrupted = True
        outcome.troubles.append("interrupted: there is only what was measured before that")
    outcome.facts["load average at the end"] = (
        f"{machine.load_average():.1f}, of which the measurement made the most"
    )
    return outcome


@contextmanager
def _ended(outcome: Outcome, scenario: Scenario) -> Iterator[None]:
    """A server of ours that has ended is the end of the scenario, for all servers: they are not comparable from then on. What
    other scenarios have measured stays; if nothing has been, there is nothing to go on with.
    """
    try:
        yield
    except (ServerFailed, PeersFailed) as error:
        if not outcome.readings:
            raise
        outcome.troubles.append(f"{scenario.name}: {error}")


def _warn(outcome: Outcome, progress: Progress, text: str) -> None:
    outcome.warnings.append(text)
    progress.note(f"warning: {text}")


@contextmanager
def _conditions(outcome: Outcome, scenario: Scenario, progress: Progress) -> Iterator[None]:
    """Note how much of the machine others had meanwhile."""
    began, load = machine.Moment.now(), machine.load_average()
    try:
        yield
    finally:
        now = machine.Moment.now()
        others = now.others_since(began)
        outcome.conditions[scenario.name] = Conditions(
            took_s=time.monotonic() - began.clock_s, load_average=load, others_cores=others
        )
        if others > machine.QUIET_SHARE * machine.cores():
            _warn(
                outcome,
                progress,
                f"{scenario.name}: others used {others:.1f} of the machine's {machine.cores()} cores meanwhile",
            )


def _run_scenario(plan: Plan, scenario: Scenario, outcome: Outcome, progress: Progress) -> None:
    with ExitStack() as stack:
        trials: dict[str, Trial] = {}
        for name, spec in plan.taking_part(scenario).items():
            progress.begin(f"{scenario.name}: setting up {name}")
            bed = stack.enter_context(
                laid_bed(spec, flags=scenario.flags, plain_auctions=scenario.plain_auctions)
            )
            outcome.facts.update(bed.database_facts())
            with _failing(trials, outcome, scenario, name):
                trials[name] = scenario.begin(bed, plan.sizes)
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
    take_as_heard()
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
    where += " on MariaDB" if spec.on_mariadb else ""
    return " ".join([f"our own{where}", *spec.flags])
