"""Lists of DesiredLRPs, whole and in parts (spec: api.md 8.5). All read the committed view.

LRPs that are asked for by guids, of processes or of apps, come in the order of the primary key, as from upstream's database,
and not in that of the request. So does the list of all; the LRPs of a domain come in no particular order.
"""

from collections.abc import Sequence
from operator import attrgetter

from bbs.concurrency.turns import CountedTurns
from bbs.http.endpoints import Answer, Call
from bbs.models import pb
from bbs.models.actual_lrp import LIST_ELEMENT
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.errors import ResourceNotFound
from bbs.models.versions import Version, desired_lrp_at, with_metrics_guid
from bbs.models.wire import encode, frame
from bbs.routes.answers import joined
from bbs.routes.app_guids import GUIDS_IN_A_TURN
from bbs.routes.app_guids import app_guids as read_app_guids
from bbs.routes.context import Context
from bbs.routes.forms import DESIRED_LRPS, ROUTING_INFOS, SCHEDULING_INFOS
from bbs.store.tables import DesiredLRPTable


def _framed_r2(lrp: DesiredLRP) -> bytes:
    return frame(LIST_ELEMENT, encode(with_metrics_guid(desired_lrp_at(Version.V2, lrp.message()))))


async def select(
    table: DesiredLRPTable,
    *,
    process_guids: Sequence[str] = (),
    app_guids: Sequence[str] = (),
    domain: str = "",
) -> Sequence[DesiredLRP]:
    """Rows that match every filter given. An app guid matches the process guids that begin with it.

    Long lists of guids are gone through in turns with others. Only the rows themselves are looked at then, each once, so it
    does no harm that the table changes meanwhile: the answer has each row as it was at some moment of the request.

    Raises:
      InvalidRequest: too many app guids with wildcards.
    """
    lrps: list[DesiredLRP]
    if process_guids:
        lrps, turns = [], CountedTurns(GUIDS_IN_A_TURN)
        for guid in dict.fromkeys(process_guids):
            if guid in table.rows:
                lrps.append(table.rows[guid])
            await turns.done()
        lrps.sort(key=attrgetter("process_guid"))
        if app_guids:
            lrps = await (await read_app_guids(app_guids)).filtered(lrps)
    elif app_guids:
        found = await (await read_app_guids(app_guids)).found_in(table)
        lrps = sorted(found, key=attrgetter("process_guid"))
    elif domain:
        return list(table.by_domain[domain])
    else:
        return table.in_order()
    return [lrp for lrp in lrps if not domain or lrp.domain == domain]


class DesiredLRPReads:
    def __init__(self, context: Context) -> None:
        self._table = context.store.committed.desired_lrps
        self._ready_lists = context.ready_lists

    async def lrps(self, request: pb.DesiredLRPsRequest, call: Call) -> Answer:
        are_all = not (request.process_guids or request.app_guids or request.domain)
        return await self._ready_lists.listed(DESIRED_LRPS, await self._select(request), are_all=are_all)

    async def lrps_r2(self, request: pb.DesiredLRPsRequest, call: Call) -> Answer:
        return await joined(await self._select(request), _framed_r2)

    async def by_process_guid(self, request: pb.DesiredLRPByProcessGuidRequest, call: Call) -> Answer:
        return DESIRED_LRPS.bytes_of(self._lrp(request))

    async def by_process_guid_r2(self, request: pb.DesiredLRPByProcessGuidRequest, call: Call) -> Answer:
        return _framed_r2(self._lrp(request))

    async def scheduling_infos(self, request: pb.DesiredLRPsRequest, call: Call) -> Answer:
        """App guids are accepted and, as upstream, ignored."""
        lrps = await select(self._table, process_guids=request.process_guids, domain=request.domain)
        are_all = not (request.process_guids or request.domain)
        return await self._ready_lists.listed(SCHEDULING_INFOS, lrps, are_all=are_all)

    async def scheduling_info(self, request: pb.DesiredLRPByProcessGuidRequest, call: Call) -> Answer:
        return SCHEDULING_INFOS.bytes_of(self._lrp(request))

    async def routing_infos(self, request: pb.DesiredLRPsRequest, call: Call) -> Answer:
        """Domain and app guids are accepted and, as upstream, ignored."""
        lrps = await select(self._table, process_guids=request.process_guids)
        return await self._ready_lists.listed(ROUTING_INFOS, lrps, are_all=not request.process_guids)

    async def _select(self, request: pb.DesiredLRPsRequest) -> Sequence[DesiredLRP]:
        return await select(
            self._table,
            process_guids=request.process_guids,
            app_guids=request.app_guids,
            domain=request.domain,
        )

    def _lrp(self, request: pb.DesiredLRPByProcessGuidRequest) -> DesiredLRP:
        lrp: DesiredLRP | None = self._table.rows.get(request.process_guid)
        if lrp is None:
            raise ResourceNotFound
        return lrp
