"""Records to rows and back: which record field lives in which column, and in which encoding (spec: storage.md §1, §3).

There is one codec per class of records, found in `CODECS`; a new kind of record is a new `Codec` and an entry there. Tables
are loaded in the order of `CODECS`. A row here is a tuple of column values in the order of ``Codec.columns``. Columns that upstream no longer uses
(``evacuating`` and ``expire_time`` of ``actual_lrps``) are left to their defaults.

Sealed columns hold either JSON (`bbs.store.json_columns`) or an envelope (`bbs.store.codecs.envelope`).
"""

from typing import Final

from bbs.models.actual_lrp import ActualLRP
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.domain import Domain
from bbs.models.outcome import Record
from bbs.models.task import Task
from bbs.store.codecs.actual_lrps import ActualLRPCodec
from bbs.store.codecs.codec import Codec
from bbs.store.codecs.desired_lrps import DesiredLRPCodec
from bbs.store.codecs.domains import DomainCodec
from bbs.store.codecs.tasks import TaskCodec

CODECS: Final[dict[type[Record], Codec]] = {
    Domain: DomainCodec(),
    DesiredLRP: DesiredLRPCodec(),
    ActualLRP: ActualLRPCodec(),
    Task: TaskCodec(),
}
