"""pgoutput's messages as bytes, written independently of the decoder: from the tables of Postgres' documentation."""

from struct import pack

from bbs.store.changes.pgoutput import UNCHANGED, Columns


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def row(columns: Columns) -> bytes:
    parts = [pack("!h", len(columns))]
    for value in columns:
        if value is None:
            parts.append(b"n")
        elif value is UNCHANGED:
            parts.append(b"u")
        else:
            assert isinstance(value, bytes)
            parts.append(b"t" + pack("!i", len(value)) + value)
    return b"".join(parts)


def begin(commit_position: int = 100, committed_us: int = 5, transaction: int = 7) -> bytes:
    return b"B" + pack("!QqI", commit_position, committed_us, transaction)


def commit(commit_position: int = 100, end_position: int = 120, committed_us: int = 5) -> bytes:
    return b"C\0" + pack("!QQq", commit_position, end_position, committed_us)


def relation(
    oid: int,
    name: str,
    columns: list[tuple[str, int, bool]],
    *,
    schema: str = "public",
    identity: bytes = b"d",
) -> bytes:
    described = b"".join(
        pack("!B", is_key) + text(column) + pack("!Ii", type_oid, -1) for column, type_oid, is_key in columns
    )
    return (
        b"R" + pack("!I", oid) + text(schema) + text(name) + identity + pack("!h", len(columns)) + described
    )


def insert(oid: int, new: Columns) -> bytes:
    return b"I" + pack("!I", oid) + b"N" + row(new)


def update(oid: int, new: Columns, old: Columns | None = None, *, whole: bool = False) -> bytes:
    before = b"" if old is None else (b"O" if whole else b"K") + row(old)
    return b"U" + pack("!I", oid) + before + b"N" + row(new)


def delete(oid: int, old: Columns, *, whole: bool = False) -> bytes:
    return b"D" + pack("!I", oid) + (b"O" if whole else b"K") + row(old)


def truncate(*oids: int) -> bytes:
    return b"T" + pack("!iB", len(oids), 0) + b"".join(pack("!I", oid) for oid in oids)
