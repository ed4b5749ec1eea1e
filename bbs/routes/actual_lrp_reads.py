"""Lists of ActualLRPs, flat and in the deprecated groups (spec: api.md 8.2). All read the committed view.

Upstream leaves every order to its database, which finds the rows of a process by the primary key. So rows that are asked
for by process guid come in its order: by index, and of one index the ordinary row first, then the evacuating and the
suspect one. Cloud Controller relies on that: of two rows that are equally old it shows the first. Other lists come in no
particular order.
"""

from collections.abc import Collection

from bbs.concurrency.turns import CountedTurns
from bbs.http.endpoints import Answer, Call
from bbs.lifecycle.groups import group_at, groups_of
from bbs.models import pb
from bbs.models.actual_lrp import LIST_ELEMENT, ActualLRP
from bbs.models.errors import ResourceNotFound
from bbs.models.events import Group
from bbs.models.wire import encode, frame
from bbs.routes.answers import joined
from bbs.routes.app_guids import GUIDS_IN_A_TURN
from bbs.routes.context import Context
from bbs.routes.forms import ACTUAL_LRPS
from bbs.store.tables import ActualLRPTable


def select(
    table: ActualLRPTable,
    *,
    process_guid: str = "",
    index: int | None = None,
    cell_id: str = "",
    domain: str = "",
) -> list[ActualLRP]:
    """Rows that match every filter given, found through the narrowest index there is for them.

    ``index`` 0 is a filter, '' is none. A list of its own: the table may change while the caller goes through it in turns.
    """
    found: Collection[ActualLRP]
    if process_guid and index is not None:
        found = table.rows_at(process_guid, index).present()
    elif process_guid:
        found = table.by_process_guid[process_guid]
    elif cell_id:
        found = table.by_cell[cell_id]
    elif domain:
        found = table.by_domain[domain]
    else:
        found = table.rows.values()
    lrps = list(found)
    if cell_id:
        lrps = [lrp for lrp in lrps if lrp.instance.cell_id == cell_id]
    if domain:
        lrps = [lrp for lrp in lrps if lrp.domain == domain]
    if index is not None:
        lrps = [lrp for lrp in lrps if lrp.index == index]
    return lrps


class ActualLRPReads:
    def __init__(self, context: Context) -> None:
        self._table = context.store.committed.actual_lrps
        self._ready_lists = context.ready_lists

    async def lrps(self, request: pb.ActualLRPsRequest, call: Call) -> Answer:
        lrps = select(
            self._table,
            process_guid=request.process_guid,
            index=request.index if request.HasField("index") else None,
            cell_id=request.cell_id,
            domain=request.domain,
        )
        are_all = not (request.process_guid or request.HasField("index") or request.cell_id or request.domain)
        return await self._ready_lists.listed(ACTUAL_LRPS, lrps, are_all=are_all)

    async def lrps_by_process_guids(self, request: pb.ActualLRPsByProcessGuidsRequest, call: Call) -> Answer:
        by_process_guid = self._table.by_process_guid
        known: list[str] = []
        turns = CountedTurns(GUIDS_IN_A_TURN)
        # A request may hold 200,000 guids, mostly of processes that we have nothing of. Those are sorted out first, so that
        # only what is known has to be sorted, which cannot be done in turns.
        for process_guid in dict.fromkeys(request.process_guids):
            if by_process_guid[process_guid]:
                known.append(process_guid)
            await turns.done()
        lrps: list[ActualLRP] = []
        for process_guid in sorted(known):
            lrps += by_process_guid[process_guid]
            await turns.done()
        return await self._ready_lists.listed(ACTUAL_LRPS, lrps)

    async def groups(self, request: pb.ActualLRPGroupsRequest, call: Call) -> Answer:
        lrps = select(self._table, cell_id=request.cell_id, domain=request.domain)
        return await joined(groups_of(lrps), _framed_group)

    async def groups_by_process_guid(
        self, request: pb.ActualLRPGroupsByProcessGuidRequest, call: Call
    ) -> Answer:
        return await joined(groups_of(select(self._table, process_guid=request.process_guid)), _framed_group)

    async def group_at(self, request: pb.ActualLRPGroupByProcessGuidAndIndexRequest, call: Call) -> Answer:
        group = group_at(self._table.rows_at(request.process_guid, request.index).present())
        if group is None:
            raise ResourceNotFound
        return _framed_group(group)


def _framed_group(group: Group) -> bytes:
    return frame(LIST_ELEMENT, encode(group.message()))
