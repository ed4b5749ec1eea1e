"""What may stand in a column that somebody else has written: anything of its SQL type."""

from typing import Any, Final

from hypothesis import strategies as st

from bbs.store.codecs.columns import Column, SQLType
from bbs.store.crypto import Keyring

NULLABLE: Final = {
    "domains": {"expire_time"},
    "desired_lrps": {"annotation", "modification_tag_index", "placement_tags", "max_pids", "metric_tags"},
    "actual_lrps": {"since", "modification_tag_index", "internal_routes", "metric_tags", "routable"},
    "tasks": {"created_at", "updated_at", "first_completed_at", "state", "result", "failed"},
}
"""Columns without NOT NULL, by table."""

NUMBERS: Final[dict[SQLType, list[Any]]] = {
    SQLType.INT4: [0, 1, -1, 2, 3, 77, 2**31 - 1, -(2**31)],
    SQLType.INT8: [0, 1, -1, 2**31, 2**53, 2**63 - 1, -(2**63)],
    SQLType.BOOL: [False, True],
}
TEXTS: Final[list[Any]] = [
    "", " ", "p", "P", "null", "RUNNING", "running", "CLAIMED", "CRASHED", "UNCLAIMED", "nonsense", "é" * 255, "x" * 255, "c1",
    "a/b", "'; DROP TABLE tasks; --", "\u202e\u2028", "\x7f\x01", "{}", "[]", '["a"]', '[1]', '{"a":1}', "[" * 200, "\U0001f600", "9" * 250,
]  # fmt: skip
SEALED: Final = [
    "", " ", "0", "00", "01", "02", "03AAAA", "0x", "00plain", "01cGxhaW4=", "00{}", "00[]", "00null", "00\x02\x00", "02!!!!", "02AAAA",
    "02" + "A" * 5000, "02BWxhYmVs", "02BWxhYmVsAAECAwQFBgcICQoL", "02//////////////////////8=", "020", "é", "02BWxhYmVsAAECAwQFBgcICQoLF65n",
]  # fmt: skip
PLAINTEXTS: Final[list[Any]] = [
    b"", b"\x02", b"\x02\x00", b"\x01\x00", b"\xff\xff", b"\x02\x00\xff", b"\x02\x00\x0a\x7f", b"\x02\x00\x0a\x01a", b"\x02\x00" + b"\x0b" * 99,
    b"\x02\x00\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x02\x00\x0a\x01\xff", b"{}", b"[]", b"null", b"nul", b"1", b'"a"', b"[null]", b"[1]",
    b'["a"]', b"[[]]", b"[{}]", b'[{"hostname":1}]', b'[{"hostname":"a"}]', b'{"a":null}', b'{"a":1}', b'{"a":"b"}', b'{"a":{"static":1}}',
    b'{"a":{"static":"s","dynamic":77}}', b'{"a":{"dynamic":"nonsense"}}', b'{"a":{"dynamic":1}}', b'{"cf-router":[{"hostnames":1}]}',
    b'{"internal-router":{"hostname":"a"}}', b'{"internal-router":[{"hostname":null}]}', b'{"a":', b"\xff", b'{"a":"\xff"}', b'{"a":"\\ud800"}',
    b'{"a":"b","a":"c"}', b"[" * 2000, b"{" * 50, b'{"a":' * 2000, b"9" * 5000, b'{"a":' + b"9" * 5000 + b"}", b"1e999", b'{"\\u0000":"\\u0000"}',
]  # fmt: skip


def every_odd_value(table: str, column: Column, keyring: Keyring) -> list[Any]:
    """What the column may hold, NULL among it if it may be that."""
    found: list[Any]
    if column.sealed:
        found = [*SEALED, *map(keyring.seal, PLAINTEXTS)]
    else:
        found = list(TEXTS if column.type is SQLType.TEXT else NUMBERS[column.type])
    return [*found, None] if column.name in NULLABLE[table] else found


def odd_values(table: str, column: Column, keyring: Keyring) -> st.SearchStrategy[Any]:
    """These, and of a sealed column any others."""
    found = st.sampled_from(every_odd_value(table, column, keyring))
    if not column.sealed:
        return found
    content = st.binary(max_size=12)
    return found | (content | content.map(lambda data: b"\x02\x00" + data)).map(keyring.seal)
