"""Domains: freshness markers (spec: domains.md)."""

from bbs.http.endpoints import Answer, Call
from bbs.lifecycle import domains as lifecycle
from bbs.models import pb
from bbs.routes.answers import SUCCESS
from bbs.routes.context import Context


class Domains:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def fresh(self, call: Call) -> Answer:
        now_ns = self._context.now_ns()
        domains = self._context.store.committed.domains.rows.values()
        fresh = [domain.name for domain in domains if lifecycle.is_fresh(domain, now_ns=now_ns)]
        return pb.DomainsResponse(domains=fresh).SerializeToString()

    async def upsert(self, request: pb.UpsertDomainRequest, call: Call) -> Answer:
        await self._context.change(
            self._context.store.domain(request.domain),
            lambda domain: lifecycle.upsert(request.domain, ttl_s=request.ttl, now_ns=self._context.now_ns()),
            log=self._context.effects_log(call, "upsert"),
        )
        return SUCCESS
