"""What has to be true: of every moment, and of quiet ones."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Set

from bbs.models.actual_lrp import ActualLRP, ActualLRPState, Presence
from bbs.store.tables import Tables
from bbs.testing._cell import Cell
from bbs.testing._container import ContainerState
from tests.simulation.route_emitter import Key, RouteEmitter, Seen, seen


def always(tables: Tables) -> Iterator[str]:
    """What no reader may ever see otherwise."""
    for lrp in tables.actual_lrps.rows.values():
        held = bool(lrp.instance.cell_id) and bool(lrp.instance.instance_guid)
        should_be_held = lrp.state in (ActualLRPState.CLAIMED, ActualLRPState.RUNNING)
        if held != should_be_held:
            yield f"{lrp.key} is {lrp.state} with {lrp.instance}"
        if lrp.presence is Presence.EVACUATING and lrp.state is not ActualLRPState.RUNNING:
            yield f"{lrp.key} is evacuating and {lrp.state}"
        if lrp.presence is Presence.SUSPECT and not should_be_held:
            yield f"{lrp.key} is suspect and {lrp.state}"


def quiet(
    tables: Tables, cells: Collection[Cell], wanted: Set[tuple[str, int]], emitters: Iterable[RouteEmitter]
) -> list[str]:
    """What is not yet as it should be once everybody has had the time: nothing, in the end.

    Every desired instance runs exactly once, in a container and in a row that agree; there are no other containers and
    no other rows; who follows the events knows exactly that, and routes to it.
    """
    up = [cell for cell in cells if cell.is_up]
    problems = [f"{cell.cell_id} is draining" for cell in up if cell.is_evacuating]
    problems += [f"{cell.cell_id} is not announced" for cell in up if not cell.is_announced]
    rows = _rows_by_instance(tables.actual_lrps.rows.values())
    containers = _containers_by_instance(cells)
    for at in sorted(wanted | rows.keys() | containers.keys()):
        here, running = rows.get(at, []), containers.get(at, [])
        if at not in wanted:
            problems.append(f"{at} is not desired, but has {_rows_text(here)} and {running}")
        elif len(here) != 1 or here[0].presence is not Presence.ORDINARY or here[0].state != "RUNNING":
            problems.append(f"{at} has {_rows_text(here) or 'no row'} and {running}")
        elif running != [(here[0].instance.cell_id, here[0].instance.instance_guid, True)]:
            problems.append(f"{at} has {_rows_text(here)}, but {running}")
    known = dict(map(seen, tables.actual_lrps.rows.values()))
    desired = {lrp.process_guid: (lrp.tag.epoch, lrp.tag.index) for lrp in tables.desired_lrps.rows.values()}
    for emitter in emitters:
        problems += emitter.differences(known, desired)
        problems += _misrouted(emitter, known)
    return problems


def serving(cells: Iterable[Cell]) -> set[tuple[str, str]]:
    """The endpoints that answer."""
    return {(cell.cell_id, guid) for cell in cells for guid, c in cell.containers.items() if c.serves}


def _misrouted(emitter: RouteEmitter, rows: Mapping[Key, Seen]) -> Iterator[str]:
    for at, count in Counter((process_guid, index) for process_guid, index, _ in rows).items():
        endpoints = list(emitter.endpoints(*at))
        if len(endpoints) != count:
            yield f"{emitter.name} routes {at} to {endpoints}"


def _rows_by_instance(rows: Iterable[ActualLRP]) -> dict[tuple[str, int], list[ActualLRP]]:
    found = defaultdict(list)
    for lrp in rows:
        found[lrp.process_guid, lrp.index].append(lrp)
    return found


def _containers_by_instance(cells: Iterable[Cell]) -> dict[tuple[str, int], list[tuple[str, str, bool]]]:
    found = defaultdict(list)
    for cell in cells:
        for container in cell.containers.values():
            found[container.at].append(
                (cell.cell_id, container.guid, container.state is ContainerState.RUNNING)
            )
    return found


def _rows_text(rows: Iterable[ActualLRP]) -> str:
    return ", ".join(
        f"{lrp.presence.name} {lrp.state} {lrp.instance.instance_guid} {lrp.tag.epoch}#{lrp.tag.index}"
        for lrp in rows
    )
