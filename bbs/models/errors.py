"""What goes wrong without a bug: refusals, and trouble outside the server (spec: validation.md §2).

A refusal (`BBSError`) is what a decision answers. `Trouble` is a database or a peer that does not do its part; whoever
waits for it may try again: `bbs.store.store.StoreUnavailable` and `bbs.peers.interfaces.PeerUnavailable`. Both kinds are a
`Failure`, which is what to catch in order to log a failure and go on. A client sees only refusals: trouble is answered as
an UnknownError with its text (`as_refusal`), in one place.

There is a class per error type of the wire, named for it. A refusal's text is its message; a class whose type has a
fixed text uses that one unless given another.
"""

from typing import ClassVar, Final

from bbs.models import pb

Type = pb.Error.Type


class Failure(Exception):
    """Something was not done, and its caller goes on: a refusal, or trouble."""


class Trouble(Failure):
    """Something outside the server failed, and may be tried again. The text says what, for logs and clients.

    Not a refusal, because a refusal is settled: whoever gets one may act upon it, while trouble says nothing about the rows.
    """


class BBSError(Failure):
    """A refusal. Becomes the response's ``error`` field; logged without a traceback.

    ``wire_type`` is its number in ``models.Error.Type``. The client raises these for what a server answered; an error
    whose type this version does not know becomes an instance of this class itself, with that number as ``wire_type``.
    """

    wire_type: int = Type.UnknownError
    canonical_text: ClassVar[str] = ""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(self.canonical_text if message is None else message)

    def to_wire(self) -> pb.Error:
        return pb.Error(type=self.wire_type, message=str(self))

    @staticmethod
    def from_wire(error: pb.Error) -> "BBSError":
        refusal = BY_WIRE_TYPE.get(error.type, BBSError)(error.message)
        refusal.wire_type = int(error.type)
        return refusal


class UnknownError(BBSError):
    wire_type = Type.UnknownError
    canonical_text = "the request failed for an unknown reason"


class InvalidRecord(BBSError):
    wire_type = Type.InvalidRecord


class InvalidRequest(BBSError):
    wire_type = Type.InvalidRequest
    canonical_text = "the request received is invalid"


class InvalidResponse(BBSError):
    wire_type = Type.InvalidResponse


class InvalidProtobufMessage(BBSError):
    wire_type = Type.InvalidProtobufMessage


class InvalidJSON(BBSError):
    wire_type = Type.InvalidJSON


class FailedToOpenEnvelope(BBSError):
    wire_type = Type.FailedToOpenEnvelope
    canonical_text = "could not open envelope"


class InvalidStateTransition(BBSError):
    wire_type = Type.InvalidStateTransition

    @classmethod
    def between(cls, before: str, after: str) -> "InvalidStateTransition":
        return cls(f"Cannot transition from {before} to {after}")


class ResourceConflict(BBSError):
    wire_type = Type.ResourceConflict
    canonical_text = "the requested resource is in a conflicting state"


class ResourceExists(BBSError):
    wire_type = Type.ResourceExists
    canonical_text = "the requested resource already exists"


class ResourceNotFound(BBSError):
    wire_type = Type.ResourceNotFound
    canonical_text = "the requested resource could not be found"


class RouterError(BBSError):
    wire_type = Type.RouterError


class ActualLRPCannotBeClaimed(BBSError):
    wire_type = Type.ActualLRPCannotBeClaimed
    canonical_text = "cannot claim actual LRP"


class ActualLRPCannotBeStarted(BBSError):
    wire_type = Type.ActualLRPCannotBeStarted
    canonical_text = "cannot start actual LRP"


class ActualLRPCannotBeCrashed(BBSError):
    wire_type = Type.ActualLRPCannotBeCrashed
    canonical_text = "cannot crash actual LRP"


class ActualLRPCannotBeFailed(BBSError):
    wire_type = Type.ActualLRPCannotBeFailed
    canonical_text = "cannot fail actual LRP"


class ActualLRPCannotBeRemoved(BBSError):
    wire_type = Type.ActualLRPCannotBeRemoved
    canonical_text = "cannot remove actual LRP"


class ActualLRPCannotBeUnclaimed(BBSError):
    wire_type = Type.ActualLRPCannotBeUnclaimed
    canonical_text = "cannot unclaim actual LRP"


class RunningOnDifferentCell(BBSError):
    wire_type = Type.RunningOnDifferentCell

    @classmethod
    def on(cls, *, actual: str, expected: str) -> "RunningOnDifferentCell":
        return cls(f"Running on cell {actual} not {expected}")


class GUIDGeneration(BBSError):
    wire_type = Type.GUIDGeneration
    canonical_text = "cannot generate random guid"


class Deserialize(BBSError):
    wire_type = Type.Deserialize
    canonical_text = "could not deserialize record"


class Deadlock(BBSError):
    wire_type = Type.Deadlock
    canonical_text = "the request failed due to deadlock"


class Unrecoverable(BBSError):
    """The database is not what it should be: the process stops after answering with this."""

    wire_type = Type.Unrecoverable

    @classmethod
    def because(cls, cause: str) -> "Unrecoverable":
        return cls(f"Unrecoverable Error: {cause}")


class LockCollision(BBSError):
    wire_type = Type.LockCollision
    canonical_text = "lock already exists"


class RequestTimeout(BBSError):
    """``Timeout`` on the wire; here the name would read as Trio's own."""

    wire_type = Type.Timeout


BY_WIRE_TYPE: Final[dict[int, type[BBSError]]] = {cls.wire_type: cls for cls in BBSError.__subclasses__()}


def as_refusal(failure: Failure) -> BBSError:
    """How a client is answered for ``failure``."""
    return failure if isinstance(failure, BBSError) else UnknownError(str(failure))


def wire_error(error: BaseException | None) -> pb.Error | None:
    """What a response says about ``error``: nothing, the refusal itself, or UnknownError with the error's text."""
    if error is None:
        return None
    if isinstance(error, BBSError):
        return error.to_wire()
    return UnknownError(str(error)).to_wire()
