import pytest

from bbs.models import pb
from bbs.models.errors import (
    BY_WIRE_TYPE,
    BBSError,
    InvalidRequest,
    InvalidStateTransition,
    RequestTimeout,
    ResourceNotFound,
    RunningOnDifferentCell,
    UnknownError,
    Unrecoverable,
    wire_error,
)

CANONICAL = {
    0: "the request failed for an unknown reason",
    4: "the request received is invalid",
    8: "could not open envelope",
    11: "the requested resource is in a conflicting state",
    12: "the requested resource already exists",
    13: "the requested resource could not be found",
    15: "cannot claim actual LRP",
    16: "cannot start actual LRP",
    17: "cannot crash actual LRP",
    18: "cannot fail actual LRP",
    19: "cannot remove actual LRP",
    21: "cannot unclaim actual LRP",
    26: "cannot generate random guid",
    27: "could not deserialize record",
    28: "the request failed due to deadlock",
    30: "lock already exists",
}


def test_every_type_of_the_wire_has_its_class() -> None:
    names = {
        number: "Timeout" if cls is RequestTimeout else cls.__name__ for number, cls in BY_WIRE_TYPE.items()
    }

    assert names == {number: name for name, number in pb.Error.Type.items()}


@pytest.mark.parametrize("number", pb.Error.Type.values())
def test_a_refusal_speaks_its_canonical_text(number: int) -> None:
    assert str(BY_WIRE_TYPE[number]()) == CANONICAL.get(number, "")


@pytest.mark.parametrize("number", pb.Error.Type.values())
def test_a_refusal_survives_the_wire(number: int) -> None:
    refusal = BBSError.from_wire(BY_WIRE_TYPE[number]("its own text").to_wire())

    assert type(refusal) is BY_WIRE_TYPE[number]
    assert (refusal.wire_type, str(refusal)) == (number, "its own text")


def test_a_type_from_the_future_keeps_its_number() -> None:
    future = pb.Error.FromString(b"\x08\x63\x12\x02hm")

    refusal = BBSError.from_wire(future)

    assert type(refusal) is BBSError
    assert refusal.to_wire() == future


def test_an_empty_text_stays_empty() -> None:
    assert str(ResourceNotFound("")) == ""
    assert str(BBSError.from_wire(pb.Error(type=pb.Error.Type.ResourceNotFound))) == ""


@pytest.mark.parametrize(
    ("error", "hex_on_the_wire"),
    [
        (InvalidRequest("x"), "08041201" + b"x".hex()),
        (UnknownError("boom"), "1204" + b"boom".hex()),  # type 0 is not written
        (ValueError("boom"), "1204" + b"boom".hex()),
        (ValueError(), ""),
    ],
    ids=["refusal", "unknown", "any other", "any other without a text"],
)
def test_what_a_response_says_of_an_error(error: Exception, hex_on_the_wire: str) -> None:
    wire = wire_error(error)

    assert wire is not None
    assert wire.SerializeToString().hex() == hex_on_the_wire


def test_no_error_is_nothing() -> None:
    assert wire_error(None) is None


@pytest.mark.parametrize(
    ("refusal", "text"),
    [
        (
            InvalidStateTransition.between("Pending", "Completed"),
            "Cannot transition from Pending to Completed",
        ),
        (RunningOnDifferentCell.on(actual="c1", expected="c2"), "Running on cell c1 not c2"),
        (Unrecoverable.because("no table"), "Unrecoverable Error: no table"),
    ],
)
def test_composed_texts(refusal: BBSError, text: str) -> None:
    assert str(refusal) == text
