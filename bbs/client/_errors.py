"""What calls of the client raise besides the refusals of `bbs.models.errors` (spec: client.md §1-§4, events.md §10)."""

from enum import Enum, auto
from typing import Final

from bbs.models.errors import BBSError, InvalidProtobufMessage, InvalidResponse, RequestTimeout, RouterError


class InvalidClientConfig(ValueError):
    """The client cannot be made of what was given: the URL, a TLS file or a number is of no use, or one does not go with another.
    If a file can't be used, the cause is a `bbs.tls.contexts.TLSFilesInvalid`, which has the file and the reason.
    """


class TransportError(Exception):
    """No response was had: connecting, sending or receiving failed. Its cause is the error from below, if any.

    ``server`` is the host and port that it is about, '' if that is not known. The text is upstream's; what to do about it, if
    that is known, is a note below it in a traceback (``__notes__``).
    """

    server = ""


class TransportTimeout(TransportError):
    """Connecting took too long. A unary call reports it as `bbs.models.errors.RequestTimeout`."""


class ConnectionRefused(TransportError):
    """Nobody listens there: no server runs, or it is a standby, which listens once it is master."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.add_note("No server runs there, or it is a standby, which listens once it is master.")


class HostNotFound(TransportError):
    """The name of the host could not be resolved."""


class Distrust(Enum):
    """Why the server's certificate is not accepted."""

    UNKNOWN_AUTHORITY = auto()
    """No CA in the CA file has issued it."""
    EXPIRED = auto()
    NOT_YET_VALID = auto()
    WRONG_NAME = auto()
    """It is for other names than the URL's host."""
    OTHER = auto()


class ServerNotTrusted(TransportError):
    """We do not accept the server's certificate."""

    def __init__(self, text: str, why: Distrust = Distrust.OTHER) -> None:
        super().__init__(text)
        self.why = why
        if why in DISTRUSTED_NOTES:
            self.add_note(DISTRUSTED_NOTES[why])


DISTRUSTED_NOTES: Final = {
    Distrust.UNKNOWN_AUTHORITY: "Give the CA file of this server (ca_file). Without one, the system's CAs are trusted.",
    Distrust.WRONG_NAME: "Give a URL with a name that is in the server's certificate.",
}


class CertificateRefused(TransportError):
    """The server does not accept our certificate. ``alert`` is TLS' word for why, such as ``unknown ca``."""

    def __init__(self, text: str, alert: str = "") -> None:
        super().__init__(text)
        self.alert = alert
        if alert == "certificate required":
            self.add_note("The server wants a client's certificate: give cert_file and key_file.")
        else:
            self.add_note(
                "Give a client's certificate (cert_file, key_file) of a CA that this server trusts."
            )


class NotTLS(TransportError):
    """What answers an ``https`` URL does not speak TLS; it may be a server without certificates."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.add_note("If it is a server without certificates, give an http URL and no files.")


class EndpointNotFound(InvalidResponse):
    """The server does not know the path, so it is older than this revision of the endpoint."""

    def __init__(self) -> None:
        super().__init__("Invalid Response with status code: 404")


NO_ANSWER: Final = (TransportError, RequestTimeout, InvalidResponse, InvalidProtobufMessage, RouterError)
"""For ``except NO_ANSWER:``. All that a call raises when no answer of the BBS could be had. It was tried as often as
`ClientConfig.attempts` says, and each attempt may have been carried out. Any other `BBSError` is the BBS's answer.
"""


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
    """The stream broke and could not be opened again; the next read tries anew, but for a source that was opened ``once``, which is
    not opened again. Missed events are lost.
    """


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
    """The server, or somebody before it, answered a call with ``status`` and no message. ``said`` is the text that it gave with it,
    cut after a thousand characters; '' if there was none.
    """

    def __init__(self, status: int, said: str = "") -> None:
        super().__init__(f"Invalid Response with status code: {status}")
        self.status = status
        self.said = said


class NotMaster(UnexpectedStatus):
    """The server is a follower, which only reads. ``master`` is the URL of who writes, '' if it does not know."""

    def __init__(self, said: str, master: str) -> None:
        super().__init__(421, said)
        self.master = master
        self.add_note(
            f"This server only reads. Who writes is {f'at {master}' if master else 'not known to it'}."
        )


class TLSWanted(UnexpectedStatus):
    """The server speaks TLS only, and was spoken to through an ``http`` URL."""

    def __init__(self, status: int, said: str = "") -> None:
        super().__init__(status, said)
        self.add_note("The server speaks TLS only: give an https URL, with ca_file, cert_file and key_file.")


class WatchFailed(Exception):
    """A watch can't go on: its cause does not go away by waiting. The server does not offer what is watched, say, or one
    side does not accept the other's certificate. There will be no further change.
    """
