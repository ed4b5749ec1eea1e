"""Every scenario, tiny, on a real server with its cells and its auctioneer: it ends well, and measures what it says."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from bbs.models import pb
from perf.__main__ import main
from perf.beds import Bed, ServerSpec, laid_bed
from perf.load import LoadGenerator
from perf.progress import Lines
from perf.readings import HIGHER_IS_BETTER, Reading
from perf.rows import count_rows
from perf.runner import Plan, run
from perf.scenarios import SCENARIOS
from perf.scenarios.life import Life
from perf.scenarios.trial import Sizes, WrongAnswer
from perf.seeding import seed
from perf.workloads import Fleet
from tests.databases import require_mariadb

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

LRPS: Final = 60
POINTS: Final = {
    "growth": (40, LRPS),
    "beside-list": (LRPS,),
    "restart": (LRPS,),
    "passes": (1_000,),
    "large-process": (LRPS,),
    "fan-out": (3, 5),
    "storm": (3,),
}


OF_THEIR_OWN: Final = ("life", "restart", "passes")
"""Through the whole runner, on servers started for them; the others share a server, as if it were somebody else's."""


def sizes() -> Sizes:
    return Sizes(lrps=LRPS, connections=8, turn_s=0.2, points=POINTS)


def expect_something(readings: list[Reading]) -> None:
    assert readings
    for reading in readings:
        headline = reading.values[reading.headline]
        assert headline > 0 if reading.headline in HIGHER_IS_BETTER else headline >= 0, reading.step


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    with laid_bed(ServerSpec.parse("own")) as bed:
        yield bed


def listed(bed: Bed) -> int:
    fleet = Fleet(target=bed.target, lrps=1)
    with LoadGenerator(bed.target, connections=1) as generator:
        return count_rows(generator.run([fleet.list_of_domain()], max_s=30).last_body)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in OF_THEIR_OWN])
def test_a_scenario_measures_something_and_leaves_the_server_as_it_was(bed: Bed, name: str) -> None:
    scenario = SCENARIOS[name]
    trial = scenario.begin(replace(bed, is_own=False), sizes())
    try:
        for point in scenario.points_of(sizes()):
            trial.prepare(point)
            trial.warm_up()
            expect_something(trial.measure())
            trial.check()
    finally:
        trial.close()

    assert trial.troubles == []
    assert listed(bed) == 0


@pytest.mark.parametrize("name", OF_THEIR_OWN)
def test_a_run_of_a_scenario_ends_well(name: str) -> None:
    scenario = SCENARIOS[name]
    plan = Plan(servers={"a": ServerSpec.parse("own")}, scenarios=[scenario], sizes=sizes(), rounds=1)

    outcome = run(plan, Lines(plan.steps()))

    assert outcome.troubles == []
    assert [point for _, point in outcome.readings] == list(POINTS.get(name, [None]))
    for steps in outcome.readings.values():
        expect_something([reading for by_server in steps.values() for reading in by_server["a"]])
    assert outcome.facts["Postgres fsync"] == "on"
    assert json.dumps(outcome.as_json(), allow_nan=False)


@pytest.mark.mariadb
def test_a_server_on_mariadb() -> None:
    require_mariadb()
    servers = {"a": ServerSpec.parse("mariadb")}
    plan = Plan(servers=servers, scenarios=[SCENARIOS["tasks"]], sizes=sizes(), rounds=1)

    outcome = run(plan, Lines(plan.steps()))

    assert outcome.troubles == []
    assert outcome.facts["MariaDB innodb_flush_log_at_trx_commit"] == "1"
    (steps,) = outcome.readings.values()
    on_mariadb = [reading for by_server in steps.values() for reading in by_server["a"]]
    expect_something(on_mariadb)
    assert sum(reading.parts.database_s for reading in on_mariadb) > 0


def test_rows_that_are_written_are_those_that_requests_would_have_made() -> None:
    """Lists show them alike but for tags and times, and starting them again changes nothing."""
    with laid_bed(ServerSpec.parse("own")) as bed:
        fleet = Fleet(target=bed.target, lrps=4)
        with LoadGenerator(bed.target, connections=1) as generator:
            generator.run([*fleet.desires_of(range(2)), *fleet.starts_of(range(2))], max_s=30)
        bed.restart(lambda data_dir: seed(data_dir, fleet, range(2, 4)))
        fleet = Fleet(target=bed.target, lrps=4)
        with LoadGenerator(bed.target, connections=1) as generator:
            before = pb.ActualLRPsResponse.FromString(
                generator.run([fleet.list_actual_lrps()], max_s=30).last_body
            )
            desired = pb.DesiredLRPsResponse.FromString(
                generator.run([fleet.list_desired_lrps()], max_s=30).last_body
            ).desired_lrps
            assert generator.run(fleet.starts(), max_s=30).good
            after = generator.run([fleet.list_actual_lrps()], max_s=30).last_body

    assert pb.ActualLRPsResponse.FromString(after) == before
    for lrps in (list(before.actual_lrps), list(desired)):
        one, _, written, _ = sorted(str(_without_tag(lrp)) for lrp in lrps)
        assert written == one.replace(fleet.process_guid(0), fleet.process_guid(2))


def _without_tag(lrp: pb.ActualLRP | pb.DesiredLRP) -> pb.ActualLRP | pb.DesiredLRP:
    """Without what differs between any two."""
    lrp.modification_tag.epoch = ""
    if isinstance(lrp, pb.ActualLRP):
        lrp.since = 0
    return lrp


def test_a_step_is_told_with_what_it_is_made_of(bed: Bed) -> None:
    trial = Life(bed, Sizes(lrps=LRPS, connections=4))
    (desire,) = (each for each in trial.measure() if each.step == "desire")
    trial.close()

    assert desire.work == LRPS
    assert desire.parts.batch >= 1
    assert desire.parts.server_s > 0
    assert desire.parts.collection_ms >= 0
    assert not math.isnan(desire.parts.load_s)


def test_cells_are_there_and_the_auctioneer_is_asked_for_each_instance(bed: Bed) -> None:
    trial = Life(bed, Sizes(lrps=LRPS, connections=4))
    assert bed.peers is not None
    before = bed.peers.counts()

    trial.measure()

    asked = bed.peers.counts().instances - before.instances
    assert asked == 2 * LRPS  # each was desired, and crashed once
    with LoadGenerator(bed.target, connections=1) as generator:
        answer = generator.run([bed.target.post("/v1/cells/list.r1")], max_s=30).last_body
    assert bed.cells is not None
    assert {cell.cell_id for cell in pb.CellsResponse.FromString(answer).cells} == {
        f"cell-{number}" for number in bed.cells.present
    }
    assert "cell-0" in answer.decode("latin-1")
    trial.close()


def test_a_wrong_count_is_found(bed: Bed) -> None:
    trial = Life(bed, Sizes(lrps=LRPS, connections=4))
    fleet = trial.fleet(LRPS)
    with trial.generator() as generator:
        trial.send(generator, "desire", fleet.desires())

        with pytest.raises(WrongAnswer, match=rf"ActualLRPs: {LRPS} instead of {LRPS + 1}"):
            trial.expect_rows(generator, "ActualLRPs", fleet.list_of_domain(), LRPS + 1)
        with pytest.raises(WrongAnswer, match="that run: 0 instead of 60"):
            trial.expect_rows(
                generator, "ActualLRPs that run", fleet.list_of_domain(), LRPS, holding=b"RUNNING"
            )

        trial.send(generator, "remove", fleet.removes())
    trial.close()


def test_a_server_of_another_checkout_and_one_by_url_take_turns(
    bed: Bed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one by URL is the module's, with all that can be known of it."""
    assert bed.server is not None
    assert bed.peers is not None
    certs = bed.server.certs_dir
    files = {"ca": "ca.crt", "cert": "client.crt", "key": "client.key"}
    known = ",".join(f"{name}={certs / file}" for name, file in files.items())
    by_url = f"{bed.server.url},{known},pid={bed.server.pid},debug={bed.probe.debug},peers={bed.peers.url}"
    checkout = Path(__file__).parent.parent.parent

    code = main(
        [
            *("compare", "--a", f"own@{checkout} --no-fast-lane", "--b", by_url, "--scenario", "life"),
            *("--lrps", "40", "--connections", "4", "--rounds", "2", "--json", str(tmp_path / "figures")),
        ]
    )

    printed = capsys.readouterr().out
    assert code == 0, printed
    assert "TROUBLE" not in printed
    (scenario,) = json.loads((tmp_path / "figures").read_text())["compare"]["scenarios"]
    steps = {each["step"]: each for each in scenario["steps"]}
    assert [len(steps["claim"]["servers"][name]["rounds"]) for name in "ab"] == [2, 2]
    assert steps["claim"]["ratios"]["a"] == 1.0
    assert steps["claim"]["servers"]["b"]["median_parts"]["server_us"] is not None


def test_a_storm_comes_with_full_handshakes_and_then_with_its_sessions(bed: Bed) -> None:
    scenario = SCENARIOS["storm"]
    trial = scenario.begin(replace(bed, is_own=False), sizes())
    try:
        trial.prepare(4)
        readings = {reading.step: reading.values for reading in trial.measure()}
    finally:
        trial.close()

    told = {how: readings[f"{how}: all served"] for how in ("full handshakes", "sessions resumed")}
    assert {how: (values["connections"], values["resumed"]) for how, values in told.items()} == {
        "full handshakes": (6, 0),
        "sessions resumed": (6, 6),
    }
    for how in told:
        for what in ("ping", "renewal in Locket"):
            assert readings[f"{how}: {what} meanwhile"]["max ms"] > 0
