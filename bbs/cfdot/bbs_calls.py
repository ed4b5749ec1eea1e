"""What commands ask of a BBS."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import trio
from google.protobuf.message import Message

from bbs.cfdot import specs
from bbs.cfdot.cell_states import ask_rep, rep_context
from bbs.cfdot.errors import CommandFailed, Refused
from bbs.cfdot.events import lrp_events, task_events, warn_of_group_events
from bbs.cfdot.given import Given, index
from bbs.cfdot.go_values import wrapped_int32
from bbs.cfdot.rendering import Renderer
from bbs.cfdot.target import Target
from bbs.client import (
    BBSClient,
    ClientConfig,
    InvalidClientConfig,
    TransportError,
    new_trace_id,
)
from bbs.models import pb
from bbs.models.errors import BBSError

NS: Final = 10**9
TTL_S_LIMIT: Final = 1 << 32
"""A time to live has 32 bits on the wire; Go cuts off what does not fit."""

CONNECT_TRIES_AGAIN: Final = 1


@dataclass(frozen=True, slots=True)
class Call:
    """A command under way. ``spec`` is what it is to create or change, if it is such a command."""

    client: BBSClient
    given: Given
    target: Target
    renderer: Renderer
    spec: Message | None
    trace_id: str = field(default_factory=new_trace_id)

    @property
    def argument(self) -> str:
        return self.given.arguments[0]

    def text(self, flag: str) -> str:
        return self.given.flags.text(flag)


def call_bbs(name: str, given: Given, target: Target, renderer: Renderer) -> None:
    """Carry out the command called ``name``, whose arguments have been checked.

    Raises:
      CommandFailed: it could not be; what was shown until then stays so.
    """
    spec = BEFORE[name](given, renderer) if name in BEFORE else None
    trio.run(_call_bbs, name, given, target, renderer, spec)


async def _call_bbs(
    name: str, given: Given, target: Target, renderer: Renderer, spec: Message | None
) -> None:
    try:
        async with BBSClient.connect(client_config(target)) as client:
            await CALLS[name](Call(client, given, target, renderer, spec))
    except BBSError as error:
        raise refused(error) from error
    except (TransportError, InvalidClientConfig) as error:
        raise CommandFailed(str(error)) from error
    finally:
        renderer.flush()


def client_config(target: Target) -> ClientConfig:
    """As upstream's: one attempt, and no connection is kept."""
    config = ClientConfig(
        url=target.address,
        insecure_skip_verify=target.skip_verify,
        attempts=1,
        stream_reconnects=CONNECT_TRIES_AGAIN,
        request_timeout_s=target.timeout_s or None,
        idle_connections_max=0,
    )
    if not target.is_tls:
        return config
    return replace(config, ca_file=target.ca_file, cert_file=target.cert_file, key_file=target.key_file)


def refused(error: BBSError) -> Refused:
    """Upstream's text for an error that the BBS answers."""
    number = error.wire_type
    kinds = pb.Error.Type.DESCRIPTOR.values_by_number
    name = kinds[number].name if number in kinds else str(number)
    return Refused(f"BBS error\nType {number}: {name}\nMessage: {error}")


async def _actual_lrps(call: Call) -> None:
    flags = call.given.flags
    lrps = await call.client.actual_lrps(
        domain=flags.text("domain"),
        cell_id=flags.text("cell-id"),
        process_guid=flags.text("process-guid"),
        index=flags.number("index") if flags.has("index") else None,
        trace_id=call.trace_id,
    )
    for lrp in lrps:
        call.renderer.show(lrp)


async def _actual_lrp_groups(call: Call) -> None:
    groups = await call.client.actual_lrp_groups(
        domain=call.text("domain"), cell_id=call.text("cell-id"), trace_id=call.trace_id
    )
    for group in groups:
        call.renderer.show(group)


async def _actual_lrp_groups_for_guid(call: Call) -> None:
    if text := call.text("index"):
        group = await call.client.actual_lrp_group_by_process_guid_and_index(
            call.argument, wrapped_int32(index(text)), trace_id=call.trace_id
        )
        call.renderer.show(group)
        return
    for group in await call.client.actual_lrp_groups_by_process_guid(call.argument, trace_id=call.trace_id):
        call.renderer.show(group)


async def _retire_actual_lrp(call: Call) -> None:
    lrp = await call.client.desired_lrp_by_process_guid(call.argument, trace_id=call.trace_id)
    key = pb.ActualLRPKey(
        process_guid=call.argument, index=wrapped_int32(index(call.given.arguments[1])), domain=lrp.domain
    )
    await call.client.retire_actual_lrp(key, trace_id=call.trace_id)


async def _desired_lrps(call: Call) -> None:
    for lrp in await call.client.desired_lrps(domain=call.text("domain"), trace_id=call.trace_id):
        call.renderer.show(lrp)


async def _desired_lrp(call: Call) -> None:
    call.renderer.show(await call.client.desired_lrp_by_process_guid(call.argument, trace_id=call.trace_id))


async def _desired_lrp_scheduling_infos(call: Call) -> None:
    infos = await call.client.desired_lrp_scheduling_infos(domain=call.text("domain"), trace_id=call.trace_id)
    for info in infos:
        call.renderer.show(info)


async def _create_desired_lrp(call: Call) -> None:
    assert isinstance(call.spec, pb.DesiredLRP)
    await call.client.desire_lrp(call.spec, trace_id=call.trace_id)


async def _update_desired_lrp(call: Call) -> None:
    assert isinstance(call.spec, pb.DesiredLRPUpdate)
    await call.client.update_desired_lrp(call.argument, call.spec, trace_id=call.trace_id)


async def _delete_desired_lrp(call: Call) -> None:
    await call.client.remove_desired_lrp(call.argument, trace_id=call.trace_id)


async def _tasks(call: Call) -> None:
    tasks = await call.client.tasks(
        domain=call.text("domain"), cell_id=call.text("cell-id"), trace_id=call.trace_id
    )
    for task in tasks:
        call.renderer.show(task)


async def _task(call: Call) -> None:
    call.renderer.show(await call.client.task_by_guid(call.argument, trace_id=call.trace_id))


async def _create_task(call: Call) -> None:
    task = call.spec
    assert isinstance(task, pb.Task)
    await call.client.desire_task(
        task_guid=task.task_guid,
        domain=task.domain,
        definition=task.task_definition if task.HasField("task_definition") else None,
        trace_id=call.trace_id,
    )


async def _cancel_task(call: Call) -> None:
    await call.client.cancel_task(call.argument, trace_id=call.trace_id)


async def _delete_task(call: Call) -> None:
    await call.client.resolving_task(call.argument, trace_id=call.trace_id)
    await call.client.delete_task(call.argument, trace_id=call.trace_id)


async def _domains(call: Call) -> None:
    for domain in await call.client.domains(trace_id=call.trace_id):
        call.renderer.show(domain)


async def _set_domain(call: Call) -> None:
    ttl_s = call.given.flags.number("ttl") // NS % TTL_S_LIMIT
    await call.client.upsert_domain(call.argument, ttl_s=ttl_s, trace_id=call.trace_id)


async def _cells(call: Call) -> None:
    for cell in await call.client.cells(trace_id=call.trace_id):
        call.renderer.show(cell)


async def _the_cell(call: Call) -> pb.CellPresence:
    for cell in await call.client.cells(trace_id=call.trace_id):
        if cell.cell_id == call.argument:
            return cell
    raise CommandFailed("Cell not found")


async def _cell(call: Call) -> None:
    call.renderer.show(await _the_cell(call))


async def _cell_state(call: Call) -> None:
    cell = await _the_cell(call)
    context = rep_context(call.target)
    call.renderer.show(await ask_rep(cell, context, trace_id=call.trace_id))


async def _cell_states(call: Call) -> None:
    """Each cell in turn. Those that can't be asked are told of in the end."""
    context = rep_context(call.target)
    try:
        cells = await call.client.cells(trace_id=call.trace_id)
    except (BBSError, TransportError) as error:
        raise Refused(f"BBS error: Failed to get cell registrations from BBS: {error}") from error
    failures = ""
    for cell in cells:
        try:
            call.renderer.show(await ask_rep(cell, context, trace_id=call.trace_id))
        except Refused as failure:
            failures += f"{failure}\n"
    if failures:
        raise Refused(failures)


async def _lrp_events(call: Call) -> None:
    await lrp_events(
        call.client,
        call.renderer,
        cell_id=call.text("cell-id"),
        with_groups=not call.given.flags.switch("exclude-actual-lrp-groups"),
    )


async def _task_events(call: Call) -> None:
    await task_events(call.client, call.renderer)


CALLS: Final[Mapping[str, Callable[[Call], Awaitable[None]]]] = {
    "actual-lrp-groups": _actual_lrp_groups,
    "actual-lrp-groups-for-guid": _actual_lrp_groups_for_guid,
    "actual-lrps": _actual_lrps,
    "cancel-task": _cancel_task,
    "cell": _cell,
    "cell-state": _cell_state,
    "cell-states": _cell_states,
    "cells": _cells,
    "create-desired-lrp": _create_desired_lrp,
    "create-task": _create_task,
    "delete-desired-lrp": _delete_desired_lrp,
    "delete-task": _delete_task,
    "desired-lrp": _desired_lrp,
    "desired-lrp-scheduling-infos": _desired_lrp_scheduling_infos,
    "desired-lrps": _desired_lrps,
    "domains": _domains,
    "lrp-events": _lrp_events,
    "retire-actual-lrp": _retire_actual_lrp,
    "set-domain": _set_domain,
    "task": _task,
    "task-events": _task_events,
    "tasks": _tasks,
    "update-desired-lrp": _update_desired_lrp,
}

BEFORE: Final[Mapping[str, Callable[[Given, Renderer], Message | None]]] = {
    "create-desired-lrp": lambda given, _: specs.read(pb.DesiredLRP, given.arguments[0]),
    "create-task": lambda given, _: specs.read(pb.Task, given.arguments[0]),
    "update-desired-lrp": lambda given, renderer: specs.read_update(given.arguments[1], renderer.warn),
    "lrp-events": warn_of_group_events,
}
"""What comes before there is a client: specifications are read, and warnings given."""
