"""What calls of the client raise besides the refusals of `bbs.models.errors` (spec: client.md §1-§4, events.md §10)."""

from bbs.models.errors import BBSError, InvalidResponse


class InvalidClientConfig(ValueError):
    """The client cannot be made: the URL or a TLS file is unusable. The text is upstream's."""


class TransportError(Exception):
    """No response was had: connecting, sending or receiving failed. Its cause is the error from below, if any."""


class TransportTimeout(TransportError):
    """Connecting took too long. A unary call reports it as `bbs.models.errors.RequestTimeout`."""


class EndpointNotFound(InvalidResponse):
    """The server does not know the path, so it is older than this revision of the endpoint."""

    def __init__(self) -> None:
        super().__init__("Invalid Response with status code: 404")


class EvacuationFailed(Exception):
    """An evacuation call failed, and this is what the cell shall do with its container all the same.

    ``error`` says why: a refusal, or a `TransportError` when there was no answer. If ``keep_container``, the cell must
    keep the container and try again later; else it may delete it.
    """

    def __init__(self, error: BBSError | TransportError, *, keep_container: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.keep_container = keep_container


class EventSourceError(Exception):
    """Reading an event failed. The source is still usable, unless the class says otherwise."""


class EndOfStream(EventSourceError):
    """The server ended the stream in an orderly way. There will be no further event: subscribe again, then list."""

    def __init__(self) -> None:
        super().__init__("EOF")


class SourceClosed(EventSourceError):
    """The source was closed on our side. There will be no further event."""

    def __init__(self) -> None:
        super().__init__("source closed")


class RawSourceError(EventSourceError):
    """The stream broke and could not be opened again; the next read tries anew. Missed events are lost."""


class InvalidEventPayload(EventSourceError):
    """One event's payload is not what its name says. The next read gives the event after it."""


class UnrecognizedEventType(EventSourceError):
    """The server knows a kind of event that this version does not. Skip it."""

    def __init__(self) -> None:
        super().__init__("unrecognized event type")


class BadEventSourceResponse(Exception):
    """The server refused to open the stream with ``status``, and asking again would not help."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"bad response from event source: {status} {reason}".rstrip())
        self.status = status


class UnexpectedStatus(InvalidResponse):
    """The server, or somebody before it, answered a call with nothing but ``status``."""

    def __init__(self, status: int) -> None:
        super().__init__(f"Invalid Response with status code: {status}")
        self.status = status


class WatchFailed(Exception):
    """A watch can't go on: its cause does not go away by waiting. The server does not offer what is watched, say, or one
    side does not accept the other's certificate. There will be no further change.
    """
