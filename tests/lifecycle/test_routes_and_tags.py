"""Internal routes and metric tags, and when an update changes them (spec: desired-lrps.md §6)."""

import pytest

from bbs.lifecycle import internal_routes, metric_tags
from bbs.models.desired_lrp import MetricTag, Routes

from .notation import read_row

INTERNAL = "internal-router"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, None),
        (b"null", None),
        (b"[]", ()),
        (b'[{"hostname":"b"},{"hostname":"a"}]', ("b", "a")),
        (b' [ {"hostname": "a", "port": 1} ]', ("a",)),
        (b'[{"HostName":"a"}]', ("a",)),
        (b'[{},null,{"hostname":null}]', ("", "", "")),
        (b'[{"hostname":"\xff"},{"hostname":"\\ud800"}]', ("\ufffd", "\ufffd")),
        (b'[{"hostname":"\xf0\x9f\x98\x80"}]', ("\U0001f600",)),
        (b'[{"hostname":"a","port":' + b"9" * 5000 + b"}]", ("a",)),
    ],
)
def test_internal_routes_are_read_as_go_does(raw: bytes | None, expected: tuple[str, ...] | None) -> None:
    assert internal_routes.parse_internal_routes(raw) == expected


@pytest.mark.parametrize("raw", [b"", b"{", b"{}", b'"a"', b'["a"]', b'[{"hostname":1}]', b"[[]]"])
def test_what_go_cannot_read_is_an_error(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whatever json or we say of it
        internal_routes.parse_internal_routes(raw)


@pytest.mark.parametrize(
    ("stored", "raw", "expected"),
    [
        pytest.param(None, b"[]", True, id="no-routes-at-all"),
        pytest.param(None, None, True, id="no-routes-at-all-and-none-given"),
        pytest.param((("cf-router", b"{}"),), b"[]", True, id="only-in-update"),
        pytest.param(((INTERNAL, b"[]"),), None, True, id="only-in-stored"),
        pytest.param(((INTERNAL, b"[]"),), b"[]", False, id="same-bytes"),
        pytest.param(((INTERNAL, b"[]"),), b"[ ]", True, id="same-but-for-blanks"),
        pytest.param((("cf-router", b"{}"),), None, True, id="in-neither"),
    ],
)
def test_when_internal_routes_count_as_updated(
    stored: Routes | None, raw: bytes | None, expected: bool
) -> None:
    assert internal_routes.are_updated(stored=stored, raw=raw) is expected


STATIC, OTHER, DYNAMIC = MetricTag(static="v"), MetricTag(static="w"), MetricTag(dynamic=metric_tags.INDEX)


@pytest.mark.parametrize(
    ("stored", "update", "expected"),
    [
        pytest.param((("t", STATIC),), (), False, id="none-given"),
        pytest.param((("t", STATIC),), (("t", STATIC),), False, id="same"),
        pytest.param((("t", STATIC),), (("t", OTHER),), True, id="other-text"),
        pytest.param((("t", STATIC),), (("t", DYNAMIC),), True, id="other-kind"),
        pytest.param((("t", STATIC),), (("u", STATIC),), True, id="other-name"),
        pytest.param((("t", STATIC),), (("t", STATIC), ("u", STATIC)), True, id="one-more"),
        pytest.param((), (("t", STATIC),), True, id="first"),
    ],
)
def test_when_metric_tags_count_as_updated(
    stored: tuple[tuple[str, MetricTag], ...], update: tuple[tuple[str, MetricTag], ...], expected: bool
) -> None:
    assert metric_tags.are_updated(stored=stored, update=update) is expected


def test_dynamic_tags_take_their_values_from_the_instance() -> None:
    tags = (("guid", MetricTag(dynamic=metric_tags.INSTANCE_GUID)), ("index", DYNAMIC), ("static", STATIC))

    resolved = metric_tags.resolved(tags, read_row("O RUN a@c1 e#1"))

    assert resolved == (("guid", "a"), ("index", "0"), ("static", "v"))
