"""Desiring, updating and removing (spec: desired-lrps.md §3, §5-§7; examples.md G, but for validation and reads)."""

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import count

import pytest

from bbs.lifecycle.desired_lrps import Circumstances, desire, remove, start_range, stop_from, update
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, ModificationTag
from bbs.models.desired_lrp import DesiredLRP, MetricTag, desired_lrp_from_message
from bbs.models.errors import InvalidRequest, ResourceExists, ResourceNotFound
from bbs.models.events import DesiredLRPChanged, DesiredLRPCreated, DesiredLRPRemoved, Hub
from bbs.models.outcome import Outcome, RequestAuction, StopInstance, UpdateInstance

from ..records import desired_message
from .notation import N, read_row, show_event, show_lrp

INTERNAL = "internal-router"


def at(update_workers: int = 2) -> Circumstances:
    numbers = count()
    return Circumstances(
        now_ns=N, new_epoch=lambda: f"new{next(numbers)}", update_workers=update_workers, trace_id="trace"
    )


def message_for(instances: int) -> pb.DesiredLRP:
    message = desired_message()
    message.instances = instances
    return message


def desired(
    instances: int = 1, routes: dict[str, bytes] | None = None, tags: dict[str, str] | None = None
) -> DesiredLRP:
    message = message_for(instances)
    if routes is not None:
        message.routes.routes.update(routes)
    for name, value in (tags or {}).items():
        message.metric_tags[name].static = value
    return desired_lrp_from_message(message, tag=ModificationTag(epoch="D", index=7), created_at_ns=1)


def process(*rows: str) -> list[ActualLRP]:
    """Rows in notation, each behind its index."""
    read = [replace(read_row(row.split(maxsplit=1)[1]), index=int(row.split()[0])) for row in rows]
    return sorted(read, key=lambda row: row.key)


def told(outcome: Outcome) -> list[str]:
    """All events, as they are announced; group events before instance events."""
    shown = []
    for announcement in outcome.announcements:
        for hub in (Hub.DESIRED, Hub.GROUP, Hub.INSTANCE):
            for event in announcement.events(hub):
                shown.append(type(event).__name__ if hub is Hub.DESIRED else show_event(event))
    return shown


def written(outcome: Outcome) -> dict[str, str]:
    """What becomes of rows, by process guid or index and presence."""
    shown = {}
    for (_, key), record in outcome.rows:
        name = key if isinstance(key, str) else f"{key.instance_index} {key.presence.name[0]}"
        if record is None:
            shown[name] = "deleted"
        elif isinstance(record, DesiredLRP):
            shown[name] = f"{record.tag.epoch}#{record.tag.index}"
        else:
            assert isinstance(record, ActualLRP)
            shown[name] = f"{show_lrp(record)} {record.tag.epoch}#{record.tag.index}"
    assert len(shown) == len(outcome.rows), "a row is written once"
    return shown


def the_record(outcome: Outcome) -> DesiredLRP:
    (record,) = (row.record for row in outcome.rows if isinstance(row.record, DesiredLRP))
    return record


CREATED = ["gC{O UNC}", "iC(O UNC)"]


@pytest.mark.parametrize(
    ("instances", "rows", "expected_rows", "auctioned"),
    [
        pytest.param(
            3, [], {"0 O": "O UNC new1#0", "1 O": "O UNC new2#0", "2 O": "O UNC new3#0"}, (0, 1, 2), id="G1"
        ),
        pytest.param(2, ["0 O RUN a@c1 e#2"], {"1 O": "O UNC new1#0"}, (1,), id="G3"),
        pytest.param(0, [], {}, None, id="G4"),
        pytest.param(1, ["0 O RUN a@c1 e#2"], {}, (), id="G5"),
        pytest.param(
            1,
            ["0 E RUN x@c3 f#0", "0 S RUN s@c9 s#1"],
            {"0 O": "O UNC new1#0"},
            (0,),
            id="only-ordinary-rows-count",
        ),
    ],
)
def test_desire(
    instances: int, rows: list[str], expected_rows: dict[str, str], auctioned: tuple[int, ...] | None
) -> None:
    outcome = desire(None, message_for(instances), process(*rows), at())

    assert written(outcome) == {"p": "new0#0", **expected_rows}
    assert told(outcome) == ["DesiredLRPCreated", *CREATED * len(expected_rows)]
    assert outcome.effects == (() if auctioned is None else (RequestAuction("p", auctioned, "trace"),))


def test_a_desire_tells_of_what_it_stores() -> None:
    message = desired_message(instances=1)

    outcome = desire(None, message, [], at())

    lrp = the_record(outcome)
    assert lrp == desired_lrp_from_message(
        message, tag=ModificationTag(epoch="new0", index=0), created_at_ns=N
    )
    assert outcome.announcements[0].events(Hub.DESIRED) == (DesiredLRPCreated(lrp, "trace"),)
    unclaimed = outcome.rows[1].record
    assert isinstance(unclaimed, ActualLRP)
    assert (unclaimed.process_guid, unclaimed.domain, unclaimed.since_ns) == ("p", "d", N)
    assert unclaimed.state is ActualLRPState.UNCLAIMED


def test_G2_a_process_is_desired_once() -> None:
    with pytest.raises(ResourceExists):
        desire(desired(), desired_message(), [], at())


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(desired_message("p" * 256), id="process-guid"),
        pytest.param(desired_message(domain="d" * 256), id="domain"),
        pytest.param(desired_message(log_guid="l" * 256), id="log-guid"),
        pytest.param(desired_message(root_fs="r:" + "r" * 1023), id="rootfs"),
        pytest.param(desired_message(annotation="a\0b"), id="annotation"),
        pytest.param(desired_message(routes=pb.ProtoRoutes(routes={"x": b"bad json"})), id="routes"),
    ],
)
def test_a_desire_that_cannot_be_stored_is_refused_even_if_it_exists(message: pb.DesiredLRP) -> None:
    for existing in (None, desired()):
        with pytest.raises(InvalidRequest, match="the request received is invalid"):
            desire(existing, message, [], at())


def test_without_update_workers_nothing_is_created_but_an_auction_is_asked_for() -> None:
    outcome = start_range(desired(instances=3), range(3), [], at(update_workers=0))

    assert outcome == Outcome(effects=(RequestAuction("p", (), "trace"),))


SCALING = [
    pytest.param(1, 3, ["0 O RUN a@c1 e#2"], {"1 O": "O UNC new0#0", "2 O": "O UNC new1#0"}, CREATED * 2,
                 ["auction[1,2]"], id="G8"),
    pytest.param(3, 1, ["0 O RUN a@c1 e#2", "1 O CLA b@c2 e#1", "2 O UNC - e#0"], {"2 O": "deleted"},
                 ["gR{O UNC}", "iR(O UNC)"], ["stop 1 O CLA b"], id="G9"),
    pytest.param(2, 1, ["1 S RUN s@c9 s#1", "1 O UNC - e#0", "2 E RUN x@c3 f#0"], {"1 O": "deleted"},
                 ["gR{O UNC}", "iR(O UNC)"], ["stop 1 S RUN s"], id="G10"),
    pytest.param(2, 2, ["0 O RUN a@c1 e#2", "5 O UNC - e#2"], {}, [], [], id="same"),
    pytest.param(2, 0, ["0 O CRA - e#2", "1 O RUN b@c2 e#1"], {"0 O": "deleted"},
                 ["gR{O CRA}", "iR(O CRA)"], ["stop 1 O RUN b"], id="to-zero"),
    pytest.param(0, 1, ["0 O RUN a@c1 e#2"], {}, [], ["auction[]"], id="nothing-left-to-create"),
    pytest.param(2, 3, ["1 O RUN a@c1 e#2"], {"2 O": "O UNC new0#0"}, CREATED, ["auction[2]"], id="only-the-new-indices"),
]  # fmt: skip


@pytest.mark.parametrize(("instances", "to", "rows", "expected_rows", "events", "effects"), SCALING)
def test_update_scales(
    instances: int,
    to: int,
    rows: list[str],
    expected_rows: dict[str, str],
    events: list[str],
    effects: list[str],
) -> None:
    outcome = update(desired(instances), pb.DesiredLRPUpdate(instances=to), process(*rows), at())

    assert written(outcome) == {"p": "D#8", **expected_rows}
    assert told(outcome) == [*events, "DesiredLRPChanged"]
    assert show_effects(outcome) == effects


def show_effects(outcome: Outcome) -> list[str]:
    shown = []
    for effect in outcome.effects:
        match effect:
            case RequestAuction(process_guid="p", indices=indices, trace_id="trace"):
                shown.append(f"auction[{','.join(map(str, indices))}]")
            case StopInstance(lrp=lrp, trace_id="trace"):
                shown.append(f"stop {lrp.index} {show_lrp(lrp)}")
            case UpdateInstance(lrp=lrp, internal_routes=routes, metric_tags=tags, trace_id="trace"):
                shown.append(f"put {lrp.index} {show_lrp(lrp)} routes={show(routes)} tags={show(tags)}")
            case _:
                raise AssertionError(effect)
    return shown


def show(value: Sequence[object] | None) -> str:
    return "null" if value is None else "[]" if not value else str(list(value))


A, B, CF, NEW_CF = b'[{"hostname":"a"}]', b'[{"hostname":"b"}]', b'["x"]', b'["y"]'
PUSHES = [
    pytest.param({"cf-router": CF}, {"cf-router": NEW_CF}, "null", id="G12"),
    pytest.param({INTERNAL: A}, {INTERNAL: B}, "['b']", id="G13"),
    pytest.param({INTERNAL: A}, {INTERNAL: b'[ {"hostname": "a"} ]'}, "['a']", id="G14"),
    pytest.param({INTERNAL: A}, {INTERNAL: A, "cf-router": CF}, None, id="G15"),
    pytest.param({INTERNAL: A}, {INTERNAL: b"[]"}, "[]", id="G16"),
    pytest.param({INTERNAL: A}, {"cf-router": CF}, "null", id="G17"),
    pytest.param({INTERNAL: A}, {}, "null", id="cleared"),
    pytest.param(None, {INTERNAL: A}, "['a']", id="first"),
    pytest.param({INTERNAL: A}, {INTERNAL: b'"no list"'}, None, id="not-routes"),
]


@pytest.mark.parametrize(("stored", "given", "pushed"), PUSHES)
def test_update_pushes_internal_routes(
    stored: dict[str, bytes] | None, given: dict[str, bytes], pushed: str | None
) -> None:
    change = pb.DesiredLRPUpdate(routes=pb.ProtoRoutes(routes=given))

    outcome = update(desired(routes=stored), change, process("0 O RUN a@c1 e#2"), at())

    assert written(outcome) == {"p": "D#8"}
    assert show_effects(outcome) == ([] if pushed is None else [f"put 0 O RUN a routes={pushed} tags=null"])
    assert told(outcome) == ["DesiredLRPChanged"]


def test_G14_routes_are_stored_compacted() -> None:
    change = pb.DesiredLRPUpdate(routes=pb.ProtoRoutes(routes={INTERNAL: b'[ {"hostname": "a"} ]'}))

    assert the_record(update(desired(), change, [], at())).routes == ((INTERNAL, A),)


@pytest.mark.parametrize(
    ("tag", "effects"),
    [
        pytest.param(
            pb.MetricTagValue(dynamic=pb.MetricTagValue.INDEX),
            [
                "put 0 O RUN a routes=null tags=[('t', '0')]",
                "put 1 O RUN b routes=null tags=[('t', '1')]",
            ],
            id="G18",
        ),
        pytest.param(pb.MetricTagValue(static="v"), [], id="G19"),
    ],
)
def test_update_pushes_metric_tags(tag: pb.MetricTagValue, effects: list[str]) -> None:
    before = replace(desired(2), metric_tags=(("t", MetricTag(static="v")),))

    outcome = update(
        before,
        pb.DesiredLRPUpdate(metric_tags={"t": tag}),
        process("0 O RUN a@c1 e#2", "1 O RUN b@c1 e#2"),
        at(),
    )

    assert show_effects(outcome) == effects
    assert told(outcome) == ["DesiredLRPChanged"]


def test_a_push_reaches_every_instance_that_a_cell_has_but_the_evacuating() -> None:
    rows = process(
        "0 O CLA a@c1 e#1",
        "0 E RUN x@c3 f#0",
        "1 O UNC - e#0",
        "1 S RUN s@c9 s#0",
        "2 O CRA - e#0",
        "9 O RUN b@c2 e#2",
    )

    outcome = update(desired(), pb.DesiredLRPUpdate(routes=pb.ProtoRoutes(routes={INTERNAL: A})), rows, at())

    assert show_effects(outcome) == [
        f"put {holder} routes=['a'] tags=null" for holder in ("0 O CLA a", "1 S RUN s", "9 O RUN b")
    ]


def changed_fields(before: DesiredLRP, after: DesiredLRP) -> set[str]:
    names = [field.name for field in fields(DesiredLRP) if field.compare]
    return {name for name in names if getattr(before, name) != getattr(after, name)}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(pb.DesiredLRPUpdate(), {}, id="G11"),
        pytest.param(pb.DesiredLRPUpdate(instances=0), {"instances": 0}, id="instances"),
        pytest.param(pb.DesiredLRPUpdate(annotation=""), {"annotation": ""}, id="annotation"),
        pytest.param(pb.DesiredLRPUpdate(routes=pb.ProtoRoutes()), {"routes": None}, id="no-routes"),
        pytest.param(
            pb.DesiredLRPUpdate(routes=pb.ProtoRoutes(routes={"b": b"1", "a": b"[ ]"})),
            {"routes": (("a", b"[]"), ("b", b"1"))},
            id="routes",
        ),
        pytest.param(
            pb.DesiredLRPUpdate(metric_tags={"u": pb.MetricTagValue(static="w")}),
            {"metric_tags": (("u", MetricTag(static="w")),)},
            id="tags",
        ),
    ],
)
def test_an_update_changes_what_it_carries_and_the_tag(
    change: pb.DesiredLRPUpdate, expected: dict[str, object]
) -> None:
    before = replace(desired(2, routes={"a": b"2"}), annotation="old")

    outcome = update(before, change, [], at())

    after = the_record(outcome)
    assert changed_fields(before, after) == {"tag", *expected}
    assert {name: getattr(after, name) for name in expected} == expected
    assert after.tag == ModificationTag(epoch="D", index=8)
    assert outcome.announcements[-1].events(Hub.DESIRED) == (DesiredLRPChanged(before, after, "trace"),)


def test_G21_image_credentials_are_patched_into_the_run_info() -> None:
    before = desired()
    run_info = pb.DesiredLRPRunInfo.FromString(before.run_info)
    run_info.ports.extend([8080, 2222, 8080])
    before = replace(before, run_info=run_info.SerializeToString())

    outcome = update(
        before,
        pb.DesiredLRPUpdate(image_username="user", image_password="secret"),
        process("0 O RUN a@c1 e#2"),
        at(),
    )

    run_info.image_username, run_info.image_password = "user", "secret"
    run_info.ports[:] = [8080, 2222]
    assert pb.DesiredLRPRunInfo.FromString(the_record(outcome).run_info) == run_info
    assert changed_fields(before, the_record(outcome)) == {"run_info", "tag"}
    assert outcome.effects == ()


def test_image_credentials_can_be_emptied() -> None:
    credentials = pb.DesiredLRPUpdate(image_username="user", image_password="secret")
    before = the_record(update(desired(), credentials, [], at()))

    after = the_record(update(before, pb.DesiredLRPUpdate(image_username="", image_password=""), [], at()))

    assert pb.DesiredLRPRunInfo.FromString(after.run_info).image_password == ""


def test_G22_only_what_is_desired_can_be_updated() -> None:
    with pytest.raises(ResourceNotFound):
        update(None, pb.DesiredLRPUpdate(instances=2), [], at())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(pb.DesiredLRPUpdate(routes=pb.ProtoRoutes(routes={"x": b"bad json"})), id="G23"),
        pytest.param(pb.DesiredLRPUpdate(annotation="a\0b"), id="annotation"),
    ],
)
def test_an_update_that_cannot_be_stored_is_refused(change: pb.DesiredLRPUpdate) -> None:
    with pytest.raises(InvalidRequest, match="the request received is invalid"):
        update(desired(), change, [], at())


def test_G24_remove_ends_all_instances_but_the_evacuating() -> None:
    lrp = desired(3)

    outcome = remove(lrp, process("0 O RUN a@c1 e#2", "1 O CRA - e#3", "2 E RUN x@c3 f#0"), trace_id="trace")

    assert written(outcome) == {"p": "deleted", "1 O": "deleted"}
    assert told(outcome) == ["DesiredLRPRemoved", "gR{O CRA}", "iR(O CRA)"]
    assert outcome.announcements[0].events(Hub.DESIRED) == (DesiredLRPRemoved(lrp, "trace"),)
    assert show_effects(outcome) == ["stop 0 O RUN a"]


def test_G25_only_what_is_desired_can_be_removed() -> None:
    with pytest.raises(ResourceNotFound):
        remove(None, process("0 O RUN a@c1 e#2"), trace_id="")


@pytest.mark.parametrize(
    ("rows", "expected_rows", "events"),
    [
        pytest.param(["1 S CRA - s#1", "1 O RUN a@c1 e#2"], {"1 O": "deleted"}, ["gR{S CRA}", "iR(S CRA)"],
                     id="whatever-the-ordinary-row-is"),
        pytest.param(["1 S CRA - s#1"], {}, [], id="no-ordinary-row"),
        pytest.param(["1 S CRA - s#1", "1 O UNC - e#2"], {"1 O": "deleted"}, ["gR{O UNC}", "iR(O UNC)"],
                     id="once-only"),
    ],
)  # fmt: skip
def test_a_row_without_a_cell_ends_the_ordinary_row_of_its_index(
    rows: list[str], expected_rows: dict[str, str], events: list[str]
) -> None:
    outcome = stop_from(1, process(*rows), trace_id="trace")

    assert written(outcome) == expected_rows
    assert told(outcome) == events
