"""Texts that the database takes (spec: actual-lrps.md §1; examples.md L13)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.lifecycle.columns import must_fit, truncated
from bbs.models.errors import InvalidRequest


@pytest.mark.parametrize(
    ("reason", "stored"),
    [
        pytest.param("", "", id="empty"),
        pytest.param("x" * 1023, "x" * 1023, id="L13-fits"),
        pytest.param("x" * 1024, "x" * 1013 + "(truncated)", id="L13-cut"),
        pytest.param("x" * 5000, "x" * 1013 + "(truncated)", id="long"),
        pytest.param("ä" * 512, "ä" * 506 + "(truncated)", id="bytes-count-and-characters-stay-whole"),
        pytest.param("a\0b", "ab", id="no-nul"),
    ],
)
def test_reasons_are_cut_to_their_column(reason: str, stored: str) -> None:
    assert truncated(reason) == stored


@given(st.text(st.characters(codec="utf-8"), max_size=2000))
def test_a_stored_reason_fits_and_is_cut_once(reason: str) -> None:
    stored = truncated(reason)

    assert len(stored.encode()) <= 1024
    assert "\0" not in stored
    assert truncated(stored) == stored
    assert stored.removesuffix("(truncated)") in reason.replace("\0", "")


@pytest.mark.parametrize("text", ["", "x" * 255, "ä" * 255])
def test_what_fits_is_taken(text: str) -> None:
    must_fit(text)


@pytest.mark.parametrize("text", ["x" * 256, "a\0b"])
def test_what_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="the request received is invalid"):
        must_fit("fine", text)
