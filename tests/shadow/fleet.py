"""A small foundation in motion: apps and tasks that go through all that the client can ask for."""

from collections.abc import Iterator

from bbs.client import InternalBBSClient, RunningReport
from bbs.models import pb
from tests.records import desired_message, task_definition

CELL = "cell-1"


async def app_life(client: InternalBBSClient, process_guid: str, *, crashes: int = 4) -> None:
    """Desired, claimed, started, crashed, routed, scaled, evacuated, and removed."""
    guids = _guids(process_guid)
    lrp = desired_message(process_guid, instances=2, annotation="1")
    lrp.routes.routes["cf-router"] = b'[{"hostnames":["a.example.com"],"port":8080}]'
    lrp.routes.routes["tcp-router"] = b"[]"
    lrp.metric_tags["organization_name"].static = "org"
    await client.desire_lrp(lrp, trace_id="a-request")
    key = pb.ActualLRPKey(process_guid=process_guid, index=0, domain="d")
    for _ in range(crashes):
        instance = pb.ActualLRPInstanceKey(instance_guid=next(guids), cell_id=CELL)
        await client.claim_actual_lrp(key, instance)
        await client.start_actual_lrp(key, instance, report(routable=False))
        await client.start_actual_lrp(key, instance, report(routable=True))
        await client.crash_actual_lrp(key, instance, error_message="exited with 1")
        if (
            await client.actual_lrp_group_by_process_guid_and_index(process_guid, 0)
        ).instance.state == "CRASHED":
            break
    other = pb.ActualLRPKey(process_guid=process_guid, index=1, domain="d")
    instance = pb.ActualLRPInstanceKey(instance_guid=next(guids), cell_id=CELL)
    await client.start_actual_lrp(other, instance, report(routable=True))
    await client.update_desired_lrp(process_guid, pb.DesiredLRPUpdate(instances=3, annotation="2"))
    await client.fail_actual_lrp(
        pb.ActualLRPKey(process_guid=process_guid, index=2, domain="d"), error_message="no room"
    )
    await client.evacuate_running_actual_lrp(other, instance, report(routable=True))
    replacement = pb.ActualLRPInstanceKey(instance_guid=next(guids), cell_id="cell-2")
    await client.claim_actual_lrp(other, replacement)
    await client.start_actual_lrp(other, replacement, report(routable=True))
    await client.remove_actual_lrp(other, replacement)
    await client.remove_desired_lrp(process_guid)
    for left in await client.actual_lrps_by_process_guids([process_guid]):
        await client.remove_actual_lrp(left.actual_lrp_key)


async def task_life(client: InternalBBSClient, task_guid: str) -> None:
    await client.desire_task(task_guid=task_guid, domain="d", definition=task_definition(annotation="t"))
    await client.start_task(task_guid=task_guid, cell_id=CELL)
    await client.complete_task(task_guid=task_guid, cell_id=CELL, result="done")
    await client.resolving_task(task_guid)
    await client.delete_task(task_guid)


def report(*, routable: bool) -> RunningReport:
    return RunningReport(
        net_info=pb.ActualLRPNetInfo(
            address="10.0.0.1", ports=[pb.PortMapping(container_port=8080, host_port=61001)]
        ),
        internal_routes=["a.apps.internal"],
        metric_tags={"app_name": "a", "source_id": "s"},
        routable=routable,
        availability_zone="z1",
    )


def _guids(process_guid: str) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"{process_guid}-{number}"
