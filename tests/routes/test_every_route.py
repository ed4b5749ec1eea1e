"""No route is forgotten: each answers through both lanes, is told of in the log, and has its call in the client."""

import re
from pathlib import Path
from typing import Final

import pytest
import trio

import bbs.client
from bbs.client import _routes as client_routes
from bbs.http.endpoints import EventStream, RouteTable, Unary
from bbs.routes.operations import SUBSCRIPTIONS, operations_by_route
from tests.routes.conftest import Server
from tests.routes.log_bench import open_bbs

UNTOLD: Final = {"Ping": "upstream's handler says nothing either; its lines are the request's own"}
NEWEST_ONLY: Final = "the client asks for the newest revision, which every server that it is for has"
NOT_CALLED: Final = {
    "DesiredLRPs_r2": NEWEST_ONLY,
    "DesiredLRPByProcessGuid_r2": NEWEST_ONLY,
    "Tasks_r2": NEWEST_ONLY,
    "TaskByGuid_r2": NEWEST_ONLY,
    "EventStream_r0": NEWEST_ONLY,
    "TaskEventStream_r0": NEWEST_ONLY,
    "LrpInstanceEventStream_r0": NEWEST_ONLY,
}
"""Routes that the client has no call for, and why."""

CALLED = {
    name: route
    for name, route in vars(client_routes).items()
    if isinstance(route, (client_routes.Route, client_routes.StreamRoute))
}
"""The client's routes by the names of its constants."""


@pytest.fixture
async def table(nursery: trio.Nursery) -> RouteTable:
    return (await open_bbs(nursery)).table(False)


async def test_each_route_is_told_of_in_the_log_or_has_a_reason_not_to(
    nursery: trio.Nursery, table: RouteTable
) -> None:
    operations = operations_by_route((await open_bbs(nursery)).context.store.head)

    for route in table.routes:
        is_told = {Unary: operations, EventStream: SUBSCRIPTIONS}[type(route.endpoint)]
        assert (route.name in is_told) != (route.name in UNTOLD), route.name
    assert {*operations, *SUBSCRIPTIONS, *UNTOLD} == {route.name for route in table.routes}


async def test_each_route_has_its_call_in_the_client_or_a_reason_not_to(table: RouteTable) -> None:
    called = [
        (route.name, getattr(route, "method", "POST"), route.path, type(route) is client_routes.StreamRoute)
        for route in CALLED.values()
    ]

    assert sorted(called) == sorted(
        (route.name, route.method, route.path, isinstance(route.endpoint, EventStream))
        for route in table.routes
        if route.name not in NOT_CALLED
    )
    assert set(NOT_CALLED) <= {route.name for route in table.routes}


def test_each_route_of_the_client_is_asked_by_one_of_its_methods() -> None:
    """What these ask for, and what they make of the answer, is the tables' of tests/client."""
    package = Path(bbs.client.__file__).parent
    text = "".join((package / name).read_text() for name in ("_client.py", "_internal_client.py"))

    assert set(re.findall(r"\broutes\.([A-Z]\w+)", text)) == set(CALLED)


async def test_each_route_answers_an_empty_request(server: Server, table: RouteTable) -> None:
    responses = {
        route.path: route.response for route in CALLED.values() if isinstance(route, client_routes.Route)
    }
    for route in table.routes:
        if isinstance(route.endpoint, EventStream):
            head = await first_piece(server, route.method, route.path)
            assert head.startswith(b"HTTP/1.1 200 "), route.name
            assert b"text/event-stream" in head, route.name
        else:
            reply = await server.post(route.path, method=route.method)
            assert reply.status == 200, route.name
            assert reply.headers["Content-Type"] == "application/x-protobuf", route.name
            if route.path in responses:
                response = responses[route.path].FromString(reply.body)
                assert response.SerializeToString() == reply.body, route.name


async def first_piece(server: Server, method: str, path: str) -> bytes:
    with trio.fail_after(10):
        async with await server.connect() as stream:
            await stream.send_all(
                f"{method} {path} HTTP/1.1\r\nHost: bbs\r\nContent-Length: 0\r\n\r\n".encode()
            )
            return await stream.receive_some()
