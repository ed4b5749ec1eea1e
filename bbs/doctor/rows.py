"""What a convergence pass would make of the rows, worked out by its own code on a copy of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from time import time_ns

from bbs.concurrency.turns import TimedTurns, sliced
from bbs.convergence.lrp_sets import Finder, LRPSets
from bbs.doctor.facts import Rows, Unknown
from bbs.lifecycle.domains import is_expired
from bbs.models.actual_lrp import ActualLRP
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.domain import Domain
from bbs.models.outcome import Record, delete
from bbs.store.codecs import CODECS
from bbs.store.codecs.columns import Values
from bbs.store.copying import Tables as StoredTables
from bbs.store.crypto import Keyring
from bbs.store.store import LANDED_IN_A_TURN
from bbs.store.tables import Tables


async def stored_rows(stored: StoredTables, keyring: Keyring, cells: frozenset[str] | Unknown) -> Rows:
    """What a convergence pass would make of the rows. They are pruned first, as a pass does.

    Raises:
      BackendUnavailable, StatementRejected: they can't be read.
    """
    tables, unreadable = Tables(), Counter[str]()
    turns = TimedTurns()
    record_classes: tuple[type[Record], ...] = (Domain, DesiredLRP, ActualLRP)
    for record_class in record_classes:
        codec, after = CODECS[record_class], Values()
        while page := await stored.page(record_class, after):
            after = page[-1][: codec.key_columns]
            for some in sliced(page, LANDED_IN_A_TURN):
                rows, undecodable = codec.decode_rows(some, keyring)
                tables.apply(rows)
                unreadable[codec.table] += len(undecodable)
                await turns.checkpoint_if_due()
    return await judged_rows(
        tables, cells, unreadable={table: count for table, count in unreadable.items() if count}
    )


async def judged_rows(
    tables: Tables,
    cells: frozenset[str] | Unknown,
    *,
    unreadable: Mapping[str, int] | Unknown,
    are_expiries_known: bool = True,
) -> Rows:
    """What a pass would make of ``tables``, which are changed by it."""
    now_ns = time_ns()
    domains: Sequence[Domain] = tuple(tables.domains.rows.values())
    used = {lrp.domain for lrp in tables.actual_lrps.rows.values()}
    used |= {lrp.domain for lrp in tables.desired_lrps.rows.values()}
    work: LRPSets | Unknown = Unknown("which cells there are", is_asked=False, see="locket")
    evacuating = 0
    if not isinstance(cells, Unknown):
        tables.apply(delete(domain) for domain in domains if is_expired(domain, now_ns=now_ns))
        finder = Finder(tables, cells, now_ns=now_ns)
        to_prune = await finder.evacuating_to_prune()
        evacuating = len(to_prune)
        tables.apply(delete(tables.actual_lrps.rows[key]) for key in to_prune)
        work = await finder.sets()
    return Rows(
        domains=tuple(domains),
        used_domains=frozenset(used),
        unreadable=unreadable,
        are_expiries_known=are_expiries_known,
        evacuating_to_prune=evacuating,
        work=work,
    )
