"""Status lines read as Go writes them, whichever Python writes them."""

import pytest

from bbs.http.reasons import go_reason


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (200, "OK"),
        (404, "Not Found"),
        (413, "Request Entity Too Large"),
        (414, "Request URI Too Long"),
        (416, "Requested Range Not Satisfiable"),
        (418, "I'm a teapot"),
        (422, "Unprocessable Entity"),
        (431, "Request Header Fields Too Large"),
        (599, ""),
    ],
)
def test_a_status_has_gos_text(status: int, reason: str) -> None:
    assert go_reason(status) == reason
