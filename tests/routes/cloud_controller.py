"""Cloud Controller as it is on the wire: its request heads, its connections, its messages written by hand.

Nothing here uses the generated messages, so that a fault in them shows.
"""

import ssl
from dataclasses import dataclass
from typing import Final

import trio

from tests.http.serving import Wire
from tests.routes.conftest import Server

PING: Final = "/v1/ping"
UPSERT_DOMAIN: Final = "/v1/domains/upsert"
DOMAINS: Final = "/v1/domains/list"
DESIRE_LRP: Final = "/v1/desired_lrp/desire.r2"
UPDATE_LRP: Final = "/v1/desired_lrp/update"
REMOVE_LRP: Final = "/v1/desired_lrp/remove"
LRP_BY_GUID: Final = "/v1/desired_lrps/get_by_process_guid.r2"
SCHEDULING_INFOS: Final = "/v1/desired_lrp_scheduling_infos/list"
ACTUAL_LRPS: Final = "/v1/actual_lrps/list"
RETIRE: Final = "/v1/actual_lrps/retire"
DESIRE_TASK: Final = "/v1/tasks/desire.r2"
TASKS: Final = "/v1/tasks/list.r2"
TASK_BY_GUID: Final = "/v1/tasks/get_by_task_guid.r2"
CANCEL_TASK: Final = "/v1/tasks/cancel"

SUCCESS: Final = b""

# Numbers of errors, which Cloud Controller goes by.
UNKNOWN_ERROR: Final = 0
INVALID_REQUEST: Final = 4
INVALID_STATE_TRANSITION: Final = 9
RESOURCE_EXISTS: Final = 12
RESOURCE_NOT_FOUND: Final = 13
UNRECOVERABLE: Final = 29


def varint(value: int) -> bytes:
    """Negative numbers take ten bytes, whatever the width of their field."""
    value %= 2**64
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def piece(field: int, *parts: bytes | str) -> bytes:
    """A text, bytes or a sub-message."""
    content = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return varint(field << 3 | 2) + varint(len(content)) + content


def error(number_of_type: int, text: str) -> bytes:
    """A response that carries an error and nothing else."""
    return piece(1, number(1, number_of_type) if number_of_type else b"", piece(2, text))


NOT_FOUND: Final = error(RESOURCE_NOT_FOUND, "the requested resource could not be found")
EXISTS: Final = error(RESOURCE_EXISTS, "the requested resource already exists")
INVALID: Final = error(INVALID_REQUEST, "the request received is invalid")


@dataclass
class CloudController:
    """One keep-alive connection of its client, and what it answers."""

    wire: Wire

    @classmethod
    async def connect(cls, server: Server, tls: ssl.SSLContext | None = None) -> "CloudController":
        plain = await server.connect()
        if tls is None:
            return cls(Wire(plain))
        stream = trio.SSLStream(plain, tls, server_hostname="localhost", https_compatible=True)
        await stream.do_handshake()
        return cls(Wire(stream))

    async def ask(self, path: str, body: bytes = b"") -> bytes:
        """The body of the answer, whose head must be a success that keeps the connection open."""
        head = (
            f"POST {path} HTTP/1.1\r\n"
            "Content-Type: application/x-protobuf\r\n"
            "X-Vcap-Request-Id: \r\n"
            "User-Agent: HTTPClient/1.0 (2.8.3, ruby 3.2.8 (2025-03-26))\r\n"
            "Accept: */*\r\n"
            "Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Host: bbs.service.cf.internal:8889\r\n\r\n"
        )
        await self.wire.send(head.encode() + body)
        response = await self.wire.read_response()
        assert response.status_line == "HTTP/1.1 200 OK", (path, response)
        headers = {name.title(): value for name, value in response.headers.items()}
        assert sorted(headers) == ["Content-Length", "Content-Type", "Date"], path
        assert headers["Content-Type"] == "application/x-protobuf"
        return response.body

    async def disconnect(self) -> None:
        await trio.aclose_forcefully(self.wire.stream)
