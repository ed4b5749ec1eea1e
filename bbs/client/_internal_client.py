"""What Diego's own components ask of a BBS besides: upstream's internal client (spec: client.md §4.2)."""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field

from bbs.client import _routes as routes
from bbs.client._caller import raise_refusal
from bbs.client._client import BBSClient
from bbs.client._errors import EndpointNotFound, EvacuationFailed, TransportError
from bbs.models import pb
from bbs.models.errors import BBSError


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningReport:
    """What a cell tells of an instance that runs. A server that does not know the newest endpoint gets only the net info.

    Attributes:
      net_info: ``address`` (the cell's), ``instance_address`` (the container's) and ``ports``; ``preferred_address`` is a
        `PreferredAddress`.
      internal_routes: host names.
      metric_tags: by name.
      routable: whether routers may send it requests.
      availability_zone: of the cell.
    """

    net_info: pb.ActualLRPNetInfo
    internal_routes: Sequence[str] = ()
    metric_tags: Mapping[str, str] = field(default_factory=dict)
    routable: bool
    availability_zone: str = ""

    def routes(self) -> list[pb.ActualLRPInternalRoute]:
        return [pb.ActualLRPInternalRoute(hostname=hostname) for hostname in self.internal_routes]


class InternalBBSClient(BBSClient):
    """A client for cells and the auctioneer: besides what `BBSClient` has, what they report. Opened and used as that."""

    # ActualLRPs

    async def claim_actual_lrp(
        self, key: pb.ActualLRPKey, instance_key: pb.ActualLRPInstanceKey, *, trace_id: str = ""
    ) -> None:
        """Claim an instance for a cell that is about to start it. Of ``key``, only process guid and index are sent.

        Raises:
          ActualLRPCannotBeClaimed: another cell has it, or it is not wanted.
          ResourceNotFound: there is no such instance.
        """
        request = pb.ClaimActualLRPRequest(
            process_guid=key.process_guid, index=key.index, actual_lrp_instance_key=instance_key
        )
        await self._call(routes.CLAIM_ACTUAL_LRP, request, trace_id)

    async def start_actual_lrp(
        self,
        key: pb.ActualLRPKey,
        instance_key: pb.ActualLRPInstanceKey,
        report: RunningReport,
        *,
        trace_id: str = "",
    ) -> None:
        """Report that an instance runs, and how it is reached. To repeat the same report changes nothing.

        Raises:
          ActualLRPCannotBeStarted: it runs elsewhere, or has crashed.
        """
        request = pb.StartActualLRPRequest(
            actual_lrp_key=key,
            actual_lrp_instance_key=instance_key,
            actual_lrp_net_info=report.net_info,
            actual_lrp_internal_routes=report.routes(),
            metric_tags=report.metric_tags,
            Routable=report.routable,
            availability_zone=report.availability_zone,
        )
        try:
            await self._call(routes.START_ACTUAL_LRP, request, trace_id)
        except EndpointNotFound:
            older = pb.StartActualLRPRequest(
                actual_lrp_key=key, actual_lrp_instance_key=instance_key, actual_lrp_net_info=report.net_info
            )
            await self._call(routes.START_ACTUAL_LRP_R0, older, trace_id)

    async def crash_actual_lrp(
        self,
        key: pb.ActualLRPKey,
        instance_key: pb.ActualLRPInstanceKey,
        *,
        error_message: str,
        trace_id: str = "",
    ) -> None:
        """Report that an instance has ended by itself. The BBS has it started again, at once or after a while.

        Raises:
          ActualLRPCannotBeCrashed: this attempt at it is not the one that the BBS knows.
          ResourceNotFound: there is no such instance.
        """
        request = pb.CrashActualLRPRequest(
            actual_lrp_key=key, actual_lrp_instance_key=instance_key, error_message=error_message
        )
        await self._call(routes.CRASH_ACTUAL_LRP, request, trace_id)

    async def fail_actual_lrp(self, key: pb.ActualLRPKey, *, error_message: str, trace_id: str = "") -> None:
        """Say that an instance could not be placed. ``error_message`` becomes its ``placement_error``.

        Raises:
          ActualLRPCannotBeFailed: it is not unclaimed any more.
          ResourceNotFound: there is no such instance.
        """
        request = pb.FailActualLRPRequest(actual_lrp_key=key, error_message=error_message)
        await self._call(routes.FAIL_ACTUAL_LRP, request, trace_id)

    async def remove_actual_lrp(
        self, key: pb.ActualLRPKey, instance_key: pb.ActualLRPInstanceKey | None = None, *, trace_id: str = ""
    ) -> None:
        """Forget an instance; with an instance key only that attempt at it. Of ``key``, guid and index are sent.

        Raises:
          ResourceNotFound: there is no such instance, or it is another attempt at it.
        """
        request = pb.RemoveActualLRPRequest(
            process_guid=key.process_guid, index=key.index, actual_lrp_instance_key=instance_key
        )
        await self._call(routes.REMOVE_ACTUAL_LRP, request, trace_id)

    # Evacuation. Each call returns whether the cell must keep the container and try again later; when it fails, the
    # error says so too, since the cell has to decide even then.

    async def evacuate_claimed_actual_lrp(
        self, key: pb.ActualLRPKey, instance_key: pb.ActualLRPInstanceKey, *, trace_id: str = ""
    ) -> bool:
        """Hand on an instance that does not run yet. Returns whether to keep its container.

        Raises:
          EvacuationFailed: the call did not succeed; without an answer the container is kept.
        """
        request = pb.EvacuateClaimedActualLRPRequest(actual_lrp_key=key, actual_lrp_instance_key=instance_key)
        exchange = self._caller.exchange(routes.EVACUATE_CLAIMED_ACTUAL_LRP, request, trace_id=trace_id)
        return await _keep_container(exchange, if_unanswered=True)

    async def evacuate_running_actual_lrp(
        self,
        key: pb.ActualLRPKey,
        instance_key: pb.ActualLRPInstanceKey,
        report: RunningReport,
        *,
        trace_id: str = "",
    ) -> bool:
        """Have an instance replaced elsewhere before it stops here. Returns whether to keep its container.

        Raises:
          EvacuationFailed: the call did not succeed; without an answer the container is kept.
        """
        request = pb.EvacuateRunningActualLRPRequest(
            actual_lrp_key=key,
            actual_lrp_instance_key=instance_key,
            actual_lrp_net_info=report.net_info,
            actual_lrp_internal_routes=report.routes(),
            metric_tags=report.metric_tags,
            Routable=report.routable,
            availability_zone=report.availability_zone,
        )
        older = pb.EvacuateRunningActualLRPRequest(
            actual_lrp_key=key, actual_lrp_instance_key=instance_key, actual_lrp_net_info=report.net_info
        )

        async def exchange() -> pb.EvacuationResponse:
            try:
                return await self._caller.exchange(
                    routes.EVACUATE_RUNNING_ACTUAL_LRP, request, trace_id=trace_id
                )
            except EndpointNotFound:
                return await self._caller.exchange(
                    routes.EVACUATE_RUNNING_ACTUAL_LRP_R0, older, trace_id=trace_id
                )

        return await _keep_container(exchange(), if_unanswered=True)

    async def evacuate_stopped_actual_lrp(
        self, key: pb.ActualLRPKey, instance_key: pb.ActualLRPInstanceKey, *, trace_id: str = ""
    ) -> bool:
        """Say that an instance ended while its cell drained. Returns whether to keep its container.

        Raises:
          EvacuationFailed: the call did not succeed; without an answer the container is not kept.
        """
        request = pb.EvacuateStoppedActualLRPRequest(actual_lrp_key=key, actual_lrp_instance_key=instance_key)
        exchange = self._caller.exchange(routes.EVACUATE_STOPPED_ACTUAL_LRP, request, trace_id=trace_id)
        return await _keep_container(exchange, if_unanswered=False)

    async def evacuate_crashed_actual_lrp(
        self,
        key: pb.ActualLRPKey,
        instance_key: pb.ActualLRPInstanceKey,
        *,
        error_message: str,
        trace_id: str = "",
    ) -> bool:
        """Say that an instance crashed while its cell drained. Returns whether to keep its container.

        Raises:
          EvacuationFailed: the call did not succeed; without an answer the container is not kept.
        """
        request = pb.EvacuateCrashedActualLRPRequest(
            actual_lrp_key=key, actual_lrp_instance_key=instance_key, error_message=error_message
        )
        exchange = self._caller.exchange(routes.EVACUATE_CRASHED_ACTUAL_LRP, request, trace_id=trace_id)
        return await _keep_container(exchange, if_unanswered=False)

    async def remove_evacuating_actual_lrp(
        self, key: pb.ActualLRPKey, instance_key: pb.ActualLRPInstanceKey, *, trace_id: str = ""
    ) -> None:
        """Forget the row with `Presence.EVACUATING` of an instance, once this cell has stopped it.

        Raises:
          ResourceNotFound: there is no such row of this attempt.
        """
        request = pb.RemoveEvacuatingActualLRPRequest(
            actual_lrp_key=key, actual_lrp_instance_key=instance_key
        )
        await self._call(routes.REMOVE_EVACUATING_ACTUAL_LRP, request, trace_id)

    # Tasks

    async def start_task(self, *, task_guid: str, cell_id: str, trace_id: str = "") -> bool:
        """Claim a task for a cell. Returns whether the cell shall start it: not if it runs there already. After an error it
        shall not start it either.

        Raises:
          ResourceNotFound: there is no such task.
          InvalidStateTransition: it is not pending, nor running on this cell.
        """
        request = pb.StartTaskRequest(task_guid=task_guid, cell_id=cell_id)
        return (await self._call(routes.START_TASK, request, trace_id)).should_start

    async def fail_task(self, task_guid: str, *, failure_reason: str, trace_id: str = "") -> None:
        """Deprecated: use `reject_task`. Completes a pending task as failed."""
        request = pb.FailTaskRequest(task_guid=task_guid, failure_reason=failure_reason)
        await self._call(routes.FAIL_TASK, request, trace_id)

    async def reject_task(self, task_guid: str, *, rejection_reason: str, trace_id: str = "") -> None:
        """Say that a task could not be placed. It is tried again as often as the server is set up for, then it is completed as
        failed, with this reason.
        """
        request = pb.RejectTaskRequest(task_guid=task_guid, rejection_reason=rejection_reason)
        await self._call(routes.REJECT_TASK, request, trace_id)

    async def complete_task(
        self,
        *,
        task_guid: str,
        cell_id: str,
        failed: bool = False,
        failure_reason: str = "",
        result: str = "",
        trace_id: str = "",
    ) -> None:
        """Report that a task is over. ``result`` is what its result file has.

        Raises:
          ResourceNotFound: there is no such task.
          RunningOnDifferentCell: another cell runs it.
          InvalidStateTransition: it does not run.
        """
        request = pb.CompleteTaskRequest(
            task_guid=task_guid, cell_id=cell_id, failed=failed, failure_reason=failure_reason, result=result
        )
        await self._call(routes.COMPLETE_TASK, request, trace_id)


async def _keep_container(exchange: Awaitable[pb.EvacuationResponse], *, if_unanswered: bool) -> bool:
    try:
        response = await exchange
    except (BBSError, TransportError) as error:
        raise EvacuationFailed(error, keep_container=if_unanswered) from error
    try:
        raise_refusal(response)
    except BBSError as refusal:
        raise EvacuationFailed(refusal, keep_container=response.keep_container) from refusal
    return response.keep_container
