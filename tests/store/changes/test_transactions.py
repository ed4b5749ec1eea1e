"""Messages are put together to transactions of our codecs' values; what can't be is said, and never guessed."""

import pytest

from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, Presence
from bbs.models.domain import Domain
from bbs.models.outcome import Record
from bbs.models.task import Task
from bbs.store.changes.errors import StreamLost
from bbs.store.changes.pgoutput import UNCHANGED, BadMessage, decode
from bbs.store.changes.transactions import PIECE_ROWS, Assembler, Change, Clear, Delete, Put, Transaction
from bbs.store.codecs import CODECS
from bbs.store.codecs.columns import SQLType
from bbs.store.positions import position_of, position_text, postgres_us, unix_ns
from tests.store.changes import messages
from tests.store.worlds import KEYRING, RUNNING

OIDS: dict[int, type[Record]] = {1: Domain, 2: ActualLRP, 3: Task}
TYPES = {SQLType.TEXT: 1043, SQLType.INT4: 23, SQLType.INT8: 20, SQLType.BOOL: 16}


def relation(oid: int, *, reverse: bool = False) -> bytes:
    codec = CODECS[OIDS[oid]]
    columns = [(column.name, TYPES[column.type], column in codec.key) for column in codec.columns]
    return messages.relation(oid, codec.table, columns[::-1] if reverse else columns)


def fed(*data: bytes, assembler: Assembler | None = None) -> list[Transaction]:
    assembler = assembler or new()
    transactions = [assembler.feed(decode(each), len(each)) for each in data]
    return [transaction for transaction in transactions if transaction is not None]


def new() -> Assembler:
    return Assembler(OIDS, {"public"}, 10)


def changes_of(*data: bytes) -> list[Change]:
    """Of one transaction."""
    [transaction] = fed(messages.begin(), *data, messages.commit())
    return list(transaction.changes)


def sent(*values: object) -> tuple[bytes | None, ...]:
    """As Postgres' text."""
    return tuple(
        None
        if value is None
        else {True: b"t", False: b"f"}[value]
        if isinstance(value, bool)
        else str(value).encode()
        for value in values
    )


def test_a_transaction_has_its_changes_in_their_order() -> None:
    assert fed(
        messages.begin(100, 5_000_000, 7),
        relation(1),
        messages.insert(1, (b"a", b"1")),
        messages.update(1, (b"a", b"-2")),
        messages.delete(1, (b"a", None)),
        messages.truncate(3, 1, 99),
        messages.insert(1, ("é".encode(), None)),
        messages.commit(100, 120, 5_000_000),
    ) == [
        Transaction(
            120,
            7,
            946_684_805 * 10**9,
            [
                Put(Domain, ("a", 1)),
                Put(Domain, ("a", -2)),
                Delete(Domain, ("a",)),
                Clear(Task),
                Clear(Domain),
                Put(Domain, ("é", None)),
            ],
        )
    ]


@pytest.mark.parametrize("reverse", [False, True])
def test_columns_are_in_the_codecs_order_whatever_the_tables(reverse: bool) -> None:
    codec = CODECS[ActualLRP]
    values = codec.encode(RUNNING, KEYRING)
    row = sent(*values)

    [change] = changes_of(relation(2, reverse=reverse), messages.insert(2, row[::-1] if reverse else row))

    assert change == Put(ActualLRP, values)
    assert isinstance(change, Put)
    assert codec.decode(change.values, KEYRING) == RUNNING


def test_a_new_key_is_a_put_and_a_delete() -> None:
    before, after = (list(CODECS[ActualLRP].encode(RUNNING, KEYRING)) for _ in range(2))
    after[2] = 0
    key = sent(*before[:3]) + (None,) * 15
    stored_apart = [*sent(*after[:-1]), UNCHANGED]

    assert changes_of(relation(2), messages.update(2, tuple(stored_apart), key)) == [
        Put(ActualLRP, (*after[:-1], UNCHANGED), moved_from=tuple(before[:3])),
        Delete(ActualLRP, ActualLRPKey("running", 7, Presence.SUSPECT)),
    ]


def test_what_is_stored_apart_is_taken_from_a_whole_old_row() -> None:
    assert changes_of(
        relation(1),
        messages.update(1, (b"a", UNCHANGED), (b"a", b"5"), whole=True),
        messages.delete(1, (b"a", b"5"), whole=True),
    ) == [Put(Domain, ("a", 5)), Delete(Domain, ("a",))]


def test_a_key_that_is_stored_apart_is_taken_from_the_old_key() -> None:
    assert changes_of(relation(1), messages.update(1, (UNCHANGED, b"6"), (b"a", None))) == [
        Put(Domain, ("a", 6))
    ]


def test_other_tables_are_passed_over() -> None:
    others = messages.relation(9, "domains", [("x", 25, False)], schema="other", identity=b"n")
    assembler = new()

    assert (
        fed(
            messages.begin(),
            others,
            messages.insert(9, (b"x",)),
            messages.truncate(9),
            messages.commit(100, 120),
            assembler=assembler,
        )
        == []
    )
    assert assembler.position == 120


def test_a_large_transaction_comes_in_pieces() -> None:
    rows = [messages.insert(1, sent(f"d{number}", number)) for number in range(2 * PIECE_ROWS)]
    assembler = new()

    first, second = fed(messages.begin(), relation(1), *rows, assembler=assembler)
    assert (first.position, second.position, assembler.position) == (10, 10, 10)
    assert first.goes_on
    assert second.goes_on
    assert len(first.changes) == len(second.changes) == PIECE_ROWS
    assembler.quiet_at(1_000)  # said in the middle of it, so it is not about its end
    assert assembler.position == 10

    [end] = fed(messages.commit(100, 120), assembler=assembler)
    assert end == Transaction(120, first.number, first.committed_at_ns, [])
    assert fed(messages.begin(), messages.commit(130, 140), assembler=assembler) == []
    assert assembler.position == 140


def test_a_quiet_server_moves_the_position_on_and_never_back() -> None:
    assembler = new()
    assembler.quiet_at(50)
    assembler.quiet_at(40)

    assert assembler.position == 50


DOMAIN = [("domain", 1043, True), ("expire_time", 20, False)]


@pytest.mark.parametrize(
    ("described", "says"),
    [
        (messages.relation(1, "domains", DOMAIN[:1]), "table domains has no column expire_time any more"),
        (messages.relation(1, "domains", [*DOMAIN[:1], ("expire_time", 25, False)]), "expire_time of table domains is no int8"),
        (messages.relation(1, "domains", [("domain", 1043, False), DOMAIN[1]], identity=b"n"), "replica identity without its key"),
        (messages.relation(1, "others", DOMAIN), "table domains is called others now"),
        (messages.relation(9, "domains", DOMAIN), "table domains has been made anew"),
    ],
)  # fmt: skip
def test_a_table_that_is_not_what_it_was_ends_the_stream(described: bytes, says: str) -> None:
    with pytest.raises(StreamLost, match=says):
        fed(messages.begin(), described)


@pytest.mark.parametrize(
    "described",
    [
        messages.relation(1, "domains", [*DOMAIN, ("novel", 9999, False)]),
        messages.relation(1, "domains", [DOMAIN[0], ("expire_time", 23, False), ("novel", 25, False)]),
        messages.relation(
            1, "domains", [("domain", 25, True), ("expire_time", 21, True), ("n", 25, True)], identity=b"f"
        ),
    ],
)
def test_a_table_with_more_or_wider_columns_goes_on(described: bytes) -> None:
    assert changes_of(described, messages.insert(1, (b"a", b"1", b"novel"))) == [Put(Domain, ("a", 1))]


@pytest.mark.parametrize(
    "data",
    [
        (messages.commit(),),
        (messages.begin(), messages.insert(1, (b"a", b"1"))),
        (relation(1), messages.insert(1, (b"a", b"1"))),
        (messages.begin(), relation(1), messages.insert(1, (b"a",))),
        (messages.begin(), relation(1), messages.insert(1, (b"a", b"five"))),
        (messages.begin(), relation(1), messages.insert(1, (b"\xff", b"1"))),
        (messages.begin(), relation(1), messages.insert(1, (None, b"1"))),
        (messages.begin(), relation(1), messages.update(1, (UNCHANGED, b"1"))),
        (messages.begin(), relation(1), messages.update(1, (UNCHANGED, b"1"), (None, None))),
        (messages.begin(), relation(1), messages.update(1, (b"a", b"1"), (b"a",))),
        (messages.begin(), relation(1), messages.delete(1, (None, b"1"))),
        (messages.begin(), relation(2), messages.insert(2, sent(*CODECS[ActualLRP].encode(RUNNING, KEYRING)[:13], "yes", *range(4)))),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_an_error(data: tuple[bytes, ...]) -> None:
    with pytest.raises(BadMessage):
        fed(*data)


@pytest.mark.parametrize(
    ("text", "position"), [("0/0", 0), ("16/B374D848", 0x16_B374_D848), ("FFFFFFFF/1", 0xFFFF_FFFF_0000_0001)]
)
def test_positions_are_read_and_written(text: str, position: int) -> None:
    assert position_of(text) == position
    assert position_text(position) == text


@pytest.mark.parametrize("text", ["", "1", "x/1", "1/"])
def test_what_is_no_position(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        position_of(text)


def test_times() -> None:
    assert unix_ns(0) == 946_684_800 * 10**9
    assert postgres_us(unix_ns(-5)) == -5
