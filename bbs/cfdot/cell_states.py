"""What a rep says of its cell (spec: client.md §5.2)."""

import ssl
from typing import Final

from bbs.cfdot.cell_load import CellState
from bbs.cfdot.errors import Refused
from bbs.cfdot.json_errors import syntax_error
from bbs.cfdot.target import Target, scheme_of
from bbs.client import TransportError, http_get
from bbs.models import pb
from bbs.models.go_json import compact_raw_json
from bbs.tls.contexts import TLSFilesInvalid, client_context

TIMEOUT_S: Final = 10.0
OK: Final = 200


def rep_context(target: Target) -> ssl.SSLContext | None:
    """How reps are spoken to: with the certificate that the BBS is shown, and the same CA. ``None`` without a CA, as upstream:
    then only reps without TLS can be asked.

    Raises:
      Refused: a file can't be used.
    """
    if not target.ca_file:
        return None
    try:
        return client_context(ca_file=target.ca_file, cert_file=target.cert_file, key_file=target.key_file)
    except TLSFilesInvalid as error:
        raise Refused(f"Failed creating rep client factory: {error}") from error


async def ask_rep(cell: pb.CellPresence, context: ssl.SSLContext | None, *, trace_id: str) -> CellState:
    """
    Raises:
      Refused: the rep can't be reached, or does not answer with its state.
    """
    try:
        return CellState(cell.cell_id, await rep_state(cell, context, trace_id=trace_id))
    except (TransportError, ValueError) as error:
        text = f"Rep error: Failed to get cell state for cell {cell.cell_id}: {error}"
        raise Refused(text) from error


async def rep_state(
    cell: pb.CellPresence, context: ssl.SSLContext | None, *, trace_id: str, timeout_s: float = TIMEOUT_S
) -> str:
    """One line of JSON.

    Raises:
      TransportError: there is no answer.
      ValueError: it is none, or the rep can't be asked at all.
    """
    url = cell.rep_url or cell.rep_address
    if cell.rep_url and context is None and scheme_of(cell.rep_url) == "https":
        raise ValueError("https scheme not supported since certificates aren't provided")
    status, body = await http_get(
        f"{url.rstrip('/')}/state",
        ssl_context=context,
        headers=(("X-Vcap-Request-Id", trace_id),),
        timeout_s=timeout_s,
    )
    if status != OK:
        raise ValueError(f"unexpected status code: {status}")
    if wrong := syntax_error(body):
        raise ValueError(wrong)
    return compact_raw_json(body).decode("utf-8", "replace")
