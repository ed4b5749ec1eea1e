"""Any bytes are a message or a `BadMessage`; those that Postgres documents are the right message, to the last byte."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.store.changes.pgoutput import (
    UNCHANGED,
    BadMessage,
    Begin,
    Columns,
    Commit,
    Delete,
    Insert,
    LogicalMessage,
    Message,
    Origin,
    Relation,
    RelationColumn,
    Truncate,
    Type,
    Update,
    decode,
)
from tests.fuzzing import examples
from tests.store.changes import messages

ROW = ("é".encode(), None, UNCHANGED, b"")

MESSAGES: list[tuple[bytes, Message]] = [
    (messages.begin(2**63, -1, 2**32 - 1), Begin(2**63, -1, 2**32 - 1)),
    (messages.commit(1, 2, 3), Commit(1, 2, 3)),
    (b"O" + pack("!Q", 9) + b"elsewhere\0", Origin(9, "elsewhere")),
    (
        messages.relation(5, "t", [("k", 25, True), ("ü", 23, False)], schema="s", identity=b"f"),
        Relation(5, "s", "t", "f", (RelationColumn("k", 25, True), RelationColumn("ü", 23, False))),
    ),
    (messages.relation(5, "t", [], schema="", identity=b"n"), Relation(5, "pg_catalog", "t", "n", ())),
    (b"Y" + pack("!I", 6) + b"s\0mood\0", Type(6, "s", "mood")),
    (messages.insert(5, ROW), Insert(5, ROW)),
    (messages.insert(5, ()), Insert(5, ())),
    (messages.update(5, ROW), Update(5, None, False, ROW)),
    (messages.update(5, ROW, (b"k", None)), Update(5, (b"k", None), False, ROW)),
    (messages.update(5, ROW, (b"o",), whole=True), Update(5, (b"o",), True, ROW)),
    (messages.delete(5, (b"k",)), Delete(5, (b"k",), False)),
    (messages.delete(5, (b"o", None), whole=True), Delete(5, (b"o", None), True)),
    (messages.truncate(5, 6), Truncate((5, 6))),
    (b"M\1" + pack("!Q", 8) + b"prefix\0" + pack("!I", 2) + b"\0\xff", LogicalMessage(True, 8, "prefix", b"\0\xff")),
]  # fmt: skip
IDS = [type(message).__name__ for _, message in MESSAGES]


@pytest.mark.parametrize(("data", "message"), MESSAGES, ids=IDS)
def test_each_message_is_decoded(data: bytes, message: Message) -> None:
    assert decode(data) == message


@pytest.mark.parametrize(("data", "message"), MESSAGES, ids=IDS)
def test_a_message_cut_anywhere_or_with_bytes_to_spare_is_none(data: bytes, message: Message) -> None:
    for length in range(len(data)):
        with pytest.raises(BadMessage):
            decode(data[:length])
    with pytest.raises(BadMessage, match="1 bytes behind its end"):
        decode(data + b"\0")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "begins with b''"),
        (b"Z", "begins with b'Z'"),
        (b"S" + bytes(5), "begins with b'S'"),  # a stream of version 2
        (b"O" + bytes(8) + b"\xff\0", "message O: a name is not UTF-8"),
        (b"I" + pack("!I", 1) + b"K" + messages.row(()), "message I: byte 75 stands at 5"),
        (b"I" + pack("!IcH", 1, b"N", 1) + b"b" + pack("!I", 1) + b"x", "message I: .* binary format"),
        (b"I" + pack("!IcH", 1, b"N", 1) + b"?", "message I: a column is of the unknown kind 63"),
        (b"I" + pack("!IcH", 1, b"N", 1) + b"t" + pack("!I", 2**32 - 1), "message I: a column of 4294967295"),
        (b"T" + pack("!IB", 2**31, 0), "message T: 2147483648 truncated tables do not fit"),
        (messages.relation(1, "t", [], identity=b"x"), "message R: byte 120 stands"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, says: str) -> None:
    with pytest.raises(BadMessage, match=says):
        decode(data)


def test_an_error_shows_no_values() -> None:
    secret = messages.insert(5, (b"secret",))

    with pytest.raises(BadMessage) as caught:
        decode(secret[:-1])

    assert "secre" not in str(caught.value)


def bent(data: bytes) -> st.SearchStrategy[bytes]:
    """A real message with bytes changed and pieces cut out."""
    place = st.integers(0, len(data))

    def bend(bytes_: list[tuple[int, int]], cut: tuple[int, int]) -> bytes:
        bent = bytearray(data)
        for at, value in bytes_:
            if at < len(bent):
                bent[at] = value
        begin, end = sorted(cut)
        return bytes(bent[:begin] + bent[end:])

    return st.builds(
        bend, st.lists(st.tuples(place, st.integers(0, 255)), max_size=4), st.tuples(place, place)
    )


@examples(300)
@given(
    st.binary(max_size=80)
    | st.builds(
        lambda kind, rest: bytes([kind]) + rest, st.sampled_from(b"BCORYIUDTM"), st.binary(max_size=80)
    )
    | st.sampled_from([data for data, _ in MESSAGES]).flatmap(bent)
)
def test_any_bytes_are_a_message_or_none(data: bytes) -> None:
    try:
        message = decode(data)
    except BadMessage:
        return
    assert isinstance(message, tuple)


values = st.none() | st.just(UNCHANGED) | st.binary(max_size=20)
rows = st.lists(values, max_size=6).map(tuple)


@examples(100)
@given(st.integers(0, 2**32 - 1), rows, st.none() | rows, st.booleans())
def test_any_row_comes_as_it_was_sent(oid: int, new: Columns, old: Columns | None, whole: bool) -> None:
    assert decode(messages.insert(oid, new)) == Insert(oid, new)
    assert decode(messages.update(oid, new, old, whole=whole)) == Update(
        oid, old, old is not None and whole, new
    )
    assert decode(messages.delete(oid, new, whole=whole)) == Delete(oid, new, whole)
