"""The texts that Go has for HTTP's status codes; Python's differ in a few, and from version to version."""

from http import HTTPStatus
from typing import Final

_GO_REASONS: Final = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Request Entity Too Large",
    414: "Request URI Too Long",
    416: "Requested Range Not Satisfiable",
    418: "I'm a teapot",
    422: "Unprocessable Entity",
}


def go_reason(status: int) -> str:
    """Go's text for a status code, '' for one that it does not know."""
    return _GO_REASONS.get(status, "")
