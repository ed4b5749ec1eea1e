"""The notation of the scenario vectors: rows, requests and events as short texts (spec: examples.md).

A vector is a line of six columns: name | rows given | request | result | rows after | events and effects.

- A row is ``<presence> <state> <instance guid>@<cell> <epoch>#<index>``, then fields that differ from the default;
  ``-`` is no instance. Rows given are there since N-10s, rows after since N. ``RUN`` rows have net n1, routes r1, tags
  t1, are routable and in zone z1; ``kept`` says that of any other row, net apart. In rows after, ``O =`` is the row as
  it was, and ``=`` alone says so of all.
- In texts, ``3*x+yz`` is ``xxxyz``, and ``_`` is a blank. In times, ``N-5m-1ns`` is before N, ``N+1ns`` after it.
- Events are group events ; instance events ; effects, each in order. ``{O RUN a,E RUN x}`` is a group, ``K`` a crash.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bbs.models import pb
from bbs.models.actual_lrp import (
    NO_INSTANCE,
    ActualLRP,
    ActualLRPState,
    InstanceKey,
    ModificationTag,
    Presence,
    Rows,
)
from bbs.models.events import (
    ActualLRPCrashed,
    ActualLRPGroupChanged,
    ActualLRPGroupCreated,
    ActualLRPGroupRemoved,
    ActualLRPInstanceChanged,
    ActualLRPInstanceCreated,
    ActualLRPInstanceRemoved,
    Event,
    Group,
    Hub,
)
from bbs.models.outcome import Outcome, RequestAuction

SECOND_NS: Final = 1_000_000_000
UNITS_NS: Final = {"ns": 1, "s": SECOND_NS, "m": 60 * SECOND_NS, "h": 3600 * SECOND_NS}
N: Final = 1_700_000_000 * SECOND_NS
"""The clock's time in every vector."""

PRESENCES: Final = {presence.name[0]: presence for presence in Presence}
STATES: Final = {state[:3]: state for state in ActualLRPState}

HOLDER_STATES: Final = ("UNC -", "CLA a@c1", "CLA b@c2", "RUN a@c1", "RUN b@c2", "CRA -")
"""Every state of a row with everybody who may hold it."""

N1: Final = pb.ActualLRPNetInfo(address="10.0.0.1").SerializeToString()
R1: Final = ("r1.internal",)
T1: Final = (("t", "1"),)


@dataclass(frozen=True)
class Vector:
    name: str
    given: Rows
    request: list[str]
    result: str
    after: Rows
    events: str


def vectors(file_name: str) -> Iterator[Vector]:
    text = (Path(__file__).parent / "vectors" / file_name).read_text()
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, given, request, result, after, events = (column.strip() for column in line.split("|"))
            rows = read_rows(given)
            yield Vector(
                name, rows, request.split(), result, read_rows(after, rows), " ".join(events.split())
            )


def read_rows(text: str, before: Rows | None = None) -> Rows:
    if text == "=":
        assert before is not None
        return before
    rows: dict[Presence, ActualLRP | None] = {}
    for row in text.split(";") if text != "none" else ():
        presence = PRESENCES[row.split()[0]]
        if row.split()[1] == "=":
            assert before is not None
            rows[presence] = before[presence]
        else:
            rows[presence] = read_row(row, since_ns=N - 10 * SECOND_NS if before is None else N)
    return Rows(*(rows.get(presence) for presence in Presence))


def read_row(text: str, *, since_ns: int = N - 10 * SECOND_NS) -> ActualLRP:
    presence, state, instance, tag, *extras = text.split()
    epoch, index = tag.split("#")
    lrp = ActualLRP(
        process_guid="p",
        index=0,
        domain="d",
        presence=PRESENCES[presence],
        state=STATES[state],
        instance=read_instance(instance),
        since_ns=since_ns,
        tag=ModificationTag(epoch=epoch, index=int(index)),
    )
    if state == "RUN" or "kept" in extras:
        net_info = N1 if state == "RUN" else b""
        lrp = replace(
            lrp, net_info=net_info, internal_routes=R1, metric_tags=T1, routable=True, availability_zone="z1"
        )
    for extra in extras:
        if extra != "kept":
            lrp = _with(lrp, *extra.split("=", 1))
    return lrp


def read_instance(text: str) -> InstanceKey:
    if text == "-":
        return NO_INSTANCE
    guid, cell_id = text.split("@")
    return InstanceKey(instance_guid=guid, cell_id=cell_id)


def read_text(text: str) -> str:
    parts = (part.split("*") if "*" in part else ("1", part) for part in text.split("+"))
    return "".join(int(times) * what for times, what in parts).replace("_", " ")


def read_time(text: str) -> int:
    assert text.startswith("N")
    time_ns = N
    for sign, number, unit in re.findall("([-+])([0-9]+)([a-z]+)", text):
        time_ns += int(sign + number) * UNITS_NS[unit]
    return time_ns


def read_net(address: str) -> bytes:
    return pb.ActualLRPNetInfo(address=address).SerializeToString()


def read_names(text: str) -> tuple[str, ...] | None:
    return None if text == "absent" else tuple(text.split(",")) if text else ()


def _with(lrp: ActualLRP, name: str, value: str) -> ActualLRP:
    match name:
        case "cc":
            return replace(lrp, crash_count=int(value))
        case "since":
            return replace(lrp, since_ns=read_time(value))
        case "crash_reason":
            return replace(lrp, crash_reason=read_text(value))
        case "placement_error":
            return replace(lrp, placement_error=read_text(value))
        case "routes":
            return replace(lrp, internal_routes=read_names(value))
        case "tags":
            return replace(lrp, metric_tags=None if value == "absent" else ((value, "1"),) if value else ())
        case "net":
            return replace(lrp, net_info=read_net(value))
        case "routable":
            return replace(lrp, routable=value == "true")
        case "az":
            return replace(lrp, availability_zone=value)
        case "domain":
            return replace(lrp, domain=value)
    raise AssertionError(f"no such field: {name}")


def show_outcome(outcome: Outcome) -> str:
    """Events of both hubs and effects, as the last column of a vector."""
    hubs = (
        ", ".join(show_event(event) for told in outcome.announcements for event in told.events(hub)) or "-"
        for hub in (Hub.GROUP, Hub.INSTANCE)
    )
    effects = []
    for effect in outcome.effects:
        assert isinstance(effect, RequestAuction)
        effects.append(f"auction[{','.join(map(str, effect.indices))}]")
    return " ; ".join((*hubs, *effects))


def show_event(event: Event) -> str:
    match event:
        case ActualLRPGroupCreated(group):
            return f"gC{show_group(group)}"
        case ActualLRPGroupChanged(before, after):
            return f"gX{show_group(before)}->{show_group(after)}"
        case ActualLRPGroupRemoved(group):
            return f"gR{show_group(group)}"
        case ActualLRPCrashed(old, new):
            return f"K({show_lrp(old)}->{show_lrp(new)})"
        case ActualLRPInstanceCreated(lrp):
            return f"iC({show_lrp(lrp)})"
        case ActualLRPInstanceChanged(old, new):
            return f"iX({show_lrp(old)}->{show_lrp(new)})"
        case ActualLRPInstanceRemoved(lrp):
            return f"iR({show_lrp(lrp)})"
    raise AssertionError(f"not an ActualLRP event: {event}")


def show_group(group: Group) -> str:
    return (
        "{" + ",".join(show_lrp(lrp) for lrp in (group.instance, group.evacuating) if lrp is not None) + "}"
    )


def show_lrp(lrp: ActualLRP) -> str:
    return " ".join(filter(None, (lrp.presence.name[0], lrp.state[:3], lrp.instance.instance_guid)))
