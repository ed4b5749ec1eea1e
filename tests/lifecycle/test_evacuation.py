"""Every scenario of examples.md E and F, and the matrix of evacuation.md §8.4, from the rows given to the answer."""

from collections.abc import Callable
from itertools import product

import pytest

from bbs.lifecycle import evacuation
from bbs.lifecycle.evacuation import Evacuation
from bbs.lifecycle.rows import StartReport
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, InstanceKey, Presence, Rows
from bbs.models.desired_lrp import RECREATE, ROLLING
from bbs.models.errors import BBSError, InvalidRequest
from bbs.models.events import ActualLRPInstanceCreated, Hub
from bbs.models.outcome import NOTHING, Outcome
from tests.records import desired_lrp

from .notation import HOLDER_STATES, N1, N, Vector, read_instance, read_row, read_text, show_outcome, vectors
from .test_actual_lrp_vectors import rows_after


@pytest.mark.parametrize("vector", list(vectors("evacuate.txt")), ids=lambda vector: vector.name)
def test_scenario(vector: Vector) -> None:
    outcome, result = answer(vector)

    assert result == vector.result
    assert rows_after(vector.given, outcome) == vector.after
    assert show_outcome(outcome) == vector.events


def answer(vector: Vector) -> tuple[Outcome, str]:
    verb, *words = vector.request
    if verb == "remove":
        try:
            return evacuation.remove_evacuating(vector.given, read_instance(words[0])), "ok"
        except BBSError as refusal:
            return NOTHING, type(refusal).__name__
    answered = ask(vector.given, verb, *words)
    error = "" if answered.error is None else f" {type(answered.error).__name__}"
    assert not error or answered.outcome is NOTHING
    return answered.outcome, f"{'keep' if answered.keep else 'destroy'}{error}"


def ask(rows: Rows, verb: str, who: str, *words: str) -> Evacuation:
    instance = read_instance(who)
    match verb:
        case "claimed":
            return evacuation.evacuate_claimed(rows, instance, now_ns=N)
        case "crashed":
            return evacuation.evacuate_crashed(rows, instance, read_text(words[0]), now_ns=N)
        case "stopped":
            return evacuation.evacuate_stopped(rows, instance)
        case "running":
            return running(rows, instance, *words)
    raise AssertionError(f"no such request: {verb}")


def running(rows: Rows, instance: InstanceKey, *words: str) -> Evacuation:
    said = dict(word.split("=", 1) for word in words if "=" in word)
    request = pb.EvacuateRunningActualLRPRequest(metric_tags={"tq": "1"}, availability_zone="zq")
    request.actual_lrp_key.process_guid = "p"
    request.actual_lrp_key.domain = said.get("domain", "d")
    request.actual_lrp_instance_key.instance_guid = instance.instance_guid
    request.actual_lrp_instance_key.cell_id = instance.cell_id
    request.actual_lrp_net_info.MergeFromString(N1)
    request.actual_lrp_internal_routes.add(hostname="rq")
    if "routable" in said:
        request.Routable = said["routable"] == "true"
    read = StartReport.from_evacuation_r0 if "r0" in words else StartReport.from_request
    desired = desired_lrp(
        instances=int(said.get("n", "1")), update_strategy=RECREATE if "recreate" in words else ROLLING
    )
    return evacuation.evacuate_running(
        rows,
        read(request),
        None if "undesired" in words else desired,
        running=lambda: int(said["runs"]),
        now_ns=N,
        epoch="new",
    )


def test_an_evacuating_row_told_again_keeps_its_zone_and_routability_but_is_announced_with_the_zone() -> None:
    before = read_row("E RUN a@c1 f#0 net=10.0.0.9")

    answered = running(Rows(None, before), before.instance, "undesired-is-not-said", "routable=false")
    assert not answered.keep  # without an ordinary row it is over

    answered = running(Rows(read_row("O UNC - e#0"), before), before.instance, "routable=false")

    ((_, stored),) = answered.outcome.rows
    assert isinstance(stored, ActualLRP)
    assert (stored.availability_zone, stored.routable) == ("z1", True)
    (created,) = [event for told in answered.outcome.announcements for event in told.events(Hub.INSTANCE)]
    assert isinstance(created, ActualLRPInstanceCreated)
    assert (created.actual_lrp.availability_zone, created.actual_lrp.routable) == ("zq", True)


def test_a_text_that_does_not_fit_is_refused_and_the_container_kept() -> None:
    with pytest.raises(InvalidRequest):
        running(Rows(read_row("O UNC - e#0")), InstanceKey(instance_guid="x" * 256, cell_id="c"))


EVERYBODY = ("a@c1", "b@c2", "x@c3")


@pytest.mark.parametrize("strategy", ["rolling", "recreate"])
@pytest.mark.parametrize("desire", ["desired", "undesired"])
def test_whatever_the_rows_are_an_answer_is_consistent(strategy: str, desire: str) -> None:
    """All combinations of rows: what is told to be kept is kept up by a row, and nobody else's row is touched."""
    ordinary = [None, *(read_row(f"O {state} e#1") for state in HOLDER_STATES)]
    evacuating = [None, *(read_row(f"E RUN {who} f#1") for who in EVERYBODY)]
    suspect = [None, *(read_row(f"S {state} {who} s#1") for state in ("CLA", "RUN") for who in EVERYBODY)]
    for rows in (Rows(*given) for given in product(ordinary, evacuating, suspect)):
        for who in EVERYBODY:
            answered = running(rows, read_instance(who), strategy, desire, "n=1", "runs=1")
            after = rows_after(rows, answered.outcome)
            if answered.keep and answered.error is None:
                assert any(row.instance == read_instance(who) for row in after.present()), rows
            if after.evacuating is not None:
                assert after.evacuating.state == "RUNNING"
            for before, now in zip(rows, after, strict=True):
                is_foreign = before is not None and before.instance != read_instance(who)
                if is_foreign and before is not None and before.presence is not Presence.EVACUATING:
                    assert now == before, rows
            for hub in (Hub.GROUP, Hub.INSTANCE):
                for told in answered.outcome.announcements:
                    told.events(hub)  # upstream's process ends where these can't be resolved


Ask = Callable[[Rows], Evacuation]


@pytest.mark.parametrize(
    "ask_about",
    [
        pytest.param(lambda rows: ask(rows, "claimed", "a@c1"), id="claimed"),
        pytest.param(lambda rows: ask(rows, "running", "a@c1"), id="running, rolling"),
        pytest.param(lambda rows: ask(rows, "running", "a@c1", "recreate", "n=1", "runs=1"), id="recreate"),
    ],
)
def test_what_could_not_be_written_keeps_the_container(ask_about: Ask) -> None:
    answered = ask_about(Rows(read_row("O RUN a@c1 e#2")))

    assert answered.outcome.rows
    assert answered.keep_after(BBSError())
