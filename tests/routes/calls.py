"""Calls for handlers that are tested without HTTP."""

from bbs.http.endpoints import Call, Peer


def a_call(trace_id: str = "") -> Call:
    return Call(b"", trace_id, "", Peer("127.0.0.1:1"))
