import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.store.crypto import BadKeys, CannotDecrypt, Keyring

NONCE = bytes(range(12))
KEYRING = Keyring({"label": "key"}, "label", nonce=lambda: NONCE)

VECTORS = {
    "net info": (
        "02000a0831302e302e302e35120708903f10c9dc031a0a31302e3235352e312e372002",
        "02BWxhYmVsAAECAwQFBgcICQoLF66tYx3RMWHa/xW7ypNeb/p4Vx/Yyv9vkoRgwKUCF50dmg3I9khKAOTh0s8fQJodSB27",
    ),
    "empty envelope": ("0200", "02BWxhYmVsAAECAwQFBgcICQoLF65nZOQHrQg15KFQ20Fol9Xv"),
    "empty list": (b"[]".hex(), "02BWxhYmVsAAECAwQFBgcICQoLTvPib6xozmqMAdXbkEOeXBRa"),
    "empty object": (b"{}".hex(), "02BWxhYmVsAAECAwQFBgcICQoLbtNeQr7aXRDtgz27qs/9Z9mM"),
}


@pytest.mark.parametrize(("plaintext", "column"), VECTORS.values(), ids=VECTORS)
def test_the_worked_examples_of_the_spec(plaintext: str, column: str) -> None:
    assert KEYRING.seal(bytes.fromhex(plaintext)) == column
    assert KEYRING.open(column) == bytes.fromhex(plaintext)


@pytest.mark.parametrize(
    ("keys", "active", "text"),
    [
        pytest.param({}, "", "must have at least one encryption key set", id="no keys"),
        pytest.param(
            {"": "k"}, "", "must select an active encryption key", id="no active label comes before labels"
        ),
        pytest.param(
            {"a": "k", "": "k"}, "b", "a key label is required", id="labels come before the unknown active"
        ),
        pytest.param({"a" * 128: "k"}, "b", "Key label is longer than 127 bytes", id="long"),
        pytest.param(
            {"é" * 64: "k"}, "b", "Key label is longer than 127 bytes", id="bytes count, not characters"
        ),
        pytest.param(
            {"a": "k"},
            "b",
            "the selected active key must be listed on the encryption keys flag",
            id="unknown active",
        ),
    ],
)
def test_keys_are_checked_in_upstreams_order(keys: dict[str, str], active: str, text: str) -> None:
    with pytest.raises(BadKeys, match=f"^{re.escape(text)}$"):
        Keyring(keys, active)


def test_the_longest_label_and_an_empty_passphrase_are_fine() -> None:
    keyring = Keyring({"l" * 127: ""}, "l" * 127)

    assert keyring.open(keyring.seal(b"x")) == b"x"


def test_values_of_every_known_key_are_opened_and_the_active_one_seals() -> None:
    old = Keyring({"old": "1"}, "old")
    both = Keyring({"old": "1", "new": "2"}, "new")

    assert both.open(old.seal(b"x")) == b"x"
    assert base64.b64decode(both.seal(b"x")[2:]).startswith(b"\x03new")
    assert both.labels == {"old", "new"}


def framed(framing: bytes) -> str:
    return "02" + base64.b64encode(framing).decode()


SEALED = base64.b64decode(VECTORS["empty list"][1][2:])


@pytest.mark.parametrize(
    ("column", "text"),
    [
        pytest.param("", "unknown encoding: []", id="empty"),
        pytest.param("0", "unknown encoding: [48]", id="one character"),
        pytest.param("01abcd", "unknown encoding: [48 49]", id="another encoding"),
        pytest.param("02", "the value ends before its key label and nonce do", id="nothing framed"),
        pytest.param("02!!!!", "illegal base64 data", id="not base64"),
        pytest.param("02BWx", "illegal base64 data", id="no padding"),
        pytest.param("02é", "illegal base64 data", id="not ASCII"),
        pytest.param(
            framed(b"\x05lab"), "the value ends before its key label and nonce do", id="label runs out"
        ),
        pytest.param(
            framed(SEALED[:17]), "the value ends before its key label and nonce do", id="nonce runs out"
        ),
        pytest.param(framed(SEALED[:18]), "cipher: message authentication failed", id="no tag"),
        pytest.param(framed(SEALED[:-1]), "cipher: message authentication failed", id="tag runs out"),
        pytest.param(
            framed(SEALED[:-1] + bytes((SEALED[-1] ^ 1,))),
            "cipher: message authentication failed",
            id="tampered",
        ),
        pytest.param(
            framed(b"\x05other" + NONCE + bytes(16)), 'Key with label "other" was not found', id="unknown"
        ),
        pytest.param(
            framed(b"\x00" + NONCE + bytes(16)), 'Key with label "" was not found', id="empty label"
        ),
        pytest.param(
            framed(b"\x01\xff" + NONCE + bytes(16)), 'Key with label "\ufffd" was not found', id="not UTF-8"
        ),
    ],
)
def test_what_cannot_be_opened_says_why(column: str, text: str) -> None:
    with pytest.raises(CannotDecrypt, match=re.escape(text)):
        KEYRING.open(column)


def test_another_passphrase_under_the_same_label_is_found_out() -> None:
    with pytest.raises(CannotDecrypt, match="authentication failed"):
        Keyring({"label": "other"}, "label").open(VECTORS["empty list"][1])


def test_line_breaks_within_base64_are_tolerated() -> None:
    column = VECTORS["empty list"][1]

    assert KEYRING.open(f"{column[:9]}\r\n{column[9:20]}\n{column[20:]}\n") == b"[]"


@given(st.text())
def test_no_text_makes_it_crash(text: str) -> None:
    for column in (text, "02" + text, framed(text.encode())):
        with pytest.raises(CannotDecrypt):
            KEYRING.open(column)


@given(st.binary())
def test_whatever_is_sealed_opens_again_at_the_length_the_spec_gives(plaintext: bytes) -> None:
    keyring = Keyring({"label": "key"}, "label")
    column = keyring.seal(plaintext)

    assert keyring.open(column) == plaintext
    assert len(column) == 2 + 4 * -(-(29 + len("label") + len(plaintext)) // 3)
    assert column != keyring.seal(plaintext)
