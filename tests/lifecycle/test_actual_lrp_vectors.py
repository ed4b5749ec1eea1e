"""Every scenario of examples.md A-D, from the rows given to the rows and events after."""

import pytest

from bbs.lifecycle import actual_lrps
from bbs.lifecycle.retirement import retire, told, without_cell
from bbs.lifecycle.rows import StartReport
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, Presence, Rows
from bbs.models.errors import BBSError
from bbs.models.outcome import NOTHING, Outcome, RetireInstance

from .notation import N1, R1, T1, N, Vector, read_instance, read_names, read_text, show_outcome, vectors

ALL = [
    vector
    for name in ("claim.txt", "start.txt", "crash.txt", "fail_remove_retire.txt")
    for vector in vectors(name)
]


@pytest.mark.parametrize("vector", ALL, ids=lambda vector: vector.name)
def test_scenario(vector: Vector) -> None:
    outcome, result = answer(vector)

    assert result == vector.result
    assert rows_after(vector.given, outcome) == vector.after
    assert show_outcome(outcome) == vector.events


def answer(vector: Vector) -> tuple[Outcome, str]:
    try:
        outcome = perform(vector.given, *vector.request)
    except BBSError as refusal:
        return NOTHING, type(refusal).__name__
    if outcome.refusal is not None:
        return outcome, f"{type(outcome.refusal).__name__} afterwards"
    return outcome, "ok"


def perform(rows: Rows, verb: str, *words: str) -> Outcome:
    match verb:
        case "claim":
            return actual_lrps.claim(rows, read_instance(words[0]), now_ns=N)
        case "start":
            return actual_lrps.start(rows, start_report(*words), now_ns=N, epoch="new")
        case "crash":
            instance, reason, *undesired = words
            return actual_lrps.crash(
                rows, read_instance(instance), read_text(reason), is_desired=not undesired, now_ns=N
            )
        case "fail":
            return actual_lrps.fail(rows, read_text(words[0]), now_ns=N)
        case "remove":
            return actual_lrps.remove(rows, read_instance(words[0]) if words else None)
        case "retire":
            outcome = retire(rows, trace_id="")
            if outcome.rows:
                assert not words
                return outcome
            [effect] = outcome.effects
            assert isinstance(effect, RetireInstance)
            return told(effect) if words[0] == "cell=known" else without_cell(effect, rows, is_told=False)
    raise AssertionError(f"no such request: {verb}")


def start_report(instance: str, *words: str) -> StartReport:
    said = dict(word.split("=", 1) for word in words if "=" in word)
    key = read_instance(instance)
    request = pb.StartActualLRPRequest(metric_tags=dict(T1), availability_zone=said.get("az", "z1"))
    request.actual_lrp_key.process_guid = "p"
    request.actual_lrp_key.domain = said.get("domain", "d")
    request.actual_lrp_instance_key.instance_guid = key.instance_guid
    request.actual_lrp_instance_key.cell_id = key.cell_id
    request.actual_lrp_net_info.MergeFromString(N1)
    for hostname in read_names(said["routes"]) or () if "routes" in said else R1:
        request.actual_lrp_internal_routes.add(hostname=hostname)
    if said.get("routable") != "unsaid":
        request.Routable = said.get("routable", "true") == "true"
    return StartReport.from_request_r0(request) if "r0" in words else StartReport.from_request(request)


def rows_after(rows: Rows, outcome: Outcome) -> Rows:
    after = {lrp.key: lrp for lrp in rows.present()}
    for (table, key), record in outcome.rows:
        assert table is ActualLRP
        assert isinstance(key, ActualLRPKey)
        if record is None:
            del after[key]  # deleting what is not there would be a mistake
        else:
            assert isinstance(record, ActualLRP)
            after[key] = record
    return Rows(*(after.get(ActualLRPKey("p", 0, presence)) for presence in Presence))
