"""How domains are stored (spec: storage.md §1.2). Nothing is sealed, and any row can be read."""

from collections.abc import Sequence
from typing import Any

from bbs.models.domain import Domain
from bbs.store.codecs.codec import Codec
from bbs.store.codecs.columns import Column, SQLType, Values
from bbs.store.crypto import Keyring


class DomainCodec(Codec):
    table = "domains"
    columns = (Column("domain", SQLType.TEXT, 255), Column("expire_time", SQLType.INT8))

    def key_values(self, key: str) -> Values:
        return (key,)

    def plain(self, record: Domain) -> Values:
        return record.name, record.expire_time_ns

    def encode(self, record: Domain, keyring: Keyring) -> Values:
        return self.plain(record)

    def decode(self, row: Sequence[Any], keyring: Keyring) -> Domain:
        name, expire_time_ns = row
        return Domain(name=name, expire_time_ns=expire_time_ns or 0)
