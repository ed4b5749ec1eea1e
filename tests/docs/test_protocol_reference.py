"""docs/protocol-reference.md is what the route table and the .proto files say, and they say enough."""

import re
from collections import Counter
from pathlib import Path

import pytest

from bbs.models import pb
from tools.proto_comments import Enum, Message, read_protos
from tools.protocol_page import PAGE, PROTOS, SECTIONS, page, route_table
from tools.protocol_routes import ROUTES

NOT_ON_THE_PAGE = {"wire_options", "envelope", "ingress", "locket"}
"""Of these no client of the BBS needs to know."""


@pytest.fixture(scope="module")
def messages() -> list[Message | Enum]:
    return read_protos(PROTOS)


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "make proto"


def test_each_route_is_described_and_no_other() -> None:
    assert set(ROUTES) == {route.name for route in route_table()}


@pytest.mark.parametrize("name", ROUTES)
def test_what_a_route_is_said_to_answer_is_there(name: str) -> None:
    told = ROUTES[name]
    assert {error for error, _ in told.errors} <= set(pb.Error.Type.keys())
    assert not told.instead or told.instead in ROUTES
    assert not told.request or hasattr(pb, told.request)


def test_a_route_is_deprecated_if_there_is_a_later_revision() -> None:
    older = {name for name in ROUTES if re.search(r"_r\d$", name)}
    assert older <= {name for name, told in ROUTES.items() if told.instead}


def test_no_proto_file_is_left_out() -> None:
    files = {path.stem for path in Path(pb.__file__).parent.glob("*.proto")}
    assert set(PROTOS) | NOT_ON_THE_PAGE == files


def test_each_message_says_what_it_is(messages: list[Message | Enum]) -> None:
    assert [each.name for each in messages if not each.comment] == []


def test_headings_differ_so_that_each_has_its_own_anchor() -> None:
    headings = re.findall(r"^#+ (.+)$", PAGE.read_text(), re.MULTILINE)
    assert [name for name, count in Counter(map(str.lower, headings)).items() if count > 1] == []
    assert len(headings) > len(ROUTES) + len(SECTIONS)
