"""Calls for handlers that are tested without HTTP."""

from bbs.routes.http import Call, Peer


def a_call(trace_id: str = "") -> Call:
    return Call(b"", trace_id, "", Peer("127.0.0.1:1"))
