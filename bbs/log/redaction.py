"""What is done to a line's data before it is written: long texts are cut, secrets masked. spec: security.md §6

Both are structlog processors for `LagerSink`, in upstream's order: truncation, then redaction. They leave messages
and sources alone. Numbers stay as exact as they are; upstream's pass through a float.
"""

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final

from structlog.typing import Processor

MASK: Final = "*REDACTED*"
CUT_MARK: Final = "-(truncated)"

SEARCHED_BYTES_MAX: Final = 64 * 1024
"""Bytes to which a text is cut before it is searched for secrets, if the configuration does not cut it shorter."""

SECRET_KEYS: Final = re.compile("[Pp]wd|[Pp]ass")

DEFAULT_PATTERNS: Final = (
    r"AKIA[A-Z0-9]{16}",
    r"""KEY["']?\s*(?::|=>|=)\s*["']?[A-Z0-9/\+=]{40}["']?""",
    r"\$1\$[A-Z0-9./]{1,16}\$[A-Z0-9./]{22}",
    r"\$5\$[A-Z0-9./]{1,16}\$[A-Z0-9./]{43}",
    r"\$6\$[A-Z0-9./]{1,16}\$[A-Z0-9./]{86}",
    r"-----BEGIN(.*)PRIVATE KEY-----",
)


class PatternInvalid(Exception):
    """A redaction pattern that RE2 refuses, or that Python's `re` cannot match as RE2 would."""


class DataProcessor(ABC):
    """A processor whose result depends on a line's data alone."""

    @abstractmethod
    def apply(self, data: Mapping[str, object]) -> dict[str, object]:
        """New data. ``data`` is not changed."""

    def __call__(
        self, logger: object, method_name: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event["data"] = self.apply(event["data"])
        return event


class Truncation(DataProcessor):
    """Cuts every text in the data that is longer than ``bytes_max``, however deep it is; keys stay whole.

    Of a text that is cut, the first ``bytes_max - 12`` bytes are kept, whole characters only, and a mark added. Below
    12 there is no room for the mark: the text is cut without. (Upstream ends the process then.)
    """

    def __init__(self, bytes_max: int) -> None:
        assert bytes_max > 0
        self._bytes_max = bytes_max
        self._mark = CUT_MARK if bytes_max >= len(CUT_MARK) else ""

    def apply(self, data: Mapping[str, object]) -> dict[str, object]:
        return {key: _mapped(value, self._cut) for key, value in data.items()}

    def _cut(self, text: str) -> str:
        # A character is four bytes at most, so most texts need not be encoded to be known to be short.
        if len(text) * 4 <= self._bytes_max:
            return text
        encoded = text.encode(errors="replace")
        if len(encoded) <= self._bytes_max:
            return text
        return encoded[: self._bytes_max - len(self._mark)].decode(errors="ignore") + self._mark


class Redaction(DataProcessor):
    """Masks every value whose key speaks of a password, and every text that looks like a secret.

    ``patterns`` replace the default ones, and are matched anywhere in a text.

    Raises:
      PatternInvalid: by the constructor.
    """

    def __init__(self, patterns: Sequence[str] | None = None) -> None:
        self._patterns = [
            compiled(pattern) for pattern in (DEFAULT_PATTERNS if patterns is None else patterns)
        ]

    def apply(self, data: Mapping[str, object]) -> dict[str, object]:
        return {
            key: MASK if SECRET_KEYS.search(str(key)) else _mapped(value, self._masked, SECRET_KEYS)
            for key, value in data.items()
        }

    def _masked(self, text: str) -> str:
        return MASK if any(pattern.search(text) for pattern in self._patterns) else text


def data_processors(
    *,
    max_data_string_length: int = 0,
    redact_secrets: bool = False,
    redact_patterns: Sequence[str] | None = None,
) -> list[Processor]:
    """The processors that the configuration's keys of these names ask for (spec: config.md §2.5), in order.

    Raises:
      PatternInvalid: one of the patterns cannot be used.
    """
    processors: list[Processor] = []
    if redact_secrets and max_data_string_length <= 0:
        # Clients choose much of what is logged, and a pattern over a text of many megabytes would hold the event loop for
        # seconds, although `bbs.log.bounds` lets only the beginning be written.
        processors.append(Truncation(SEARCHED_BYTES_MAX))
    elif max_data_string_length > 0:
        processors.append(Truncation(max_data_string_length))
    if redact_secrets:
        processors.append(Redaction(redact_patterns))
    return processors


def _mapped(
    value: object, change: Callable[[str], str], masked_keys: re.Pattern[str] | None = None
) -> object:
    """``value`` with ``change`` applied to all texts in it, keys apart."""
    match value:
        case str():
            return change(value)
        case Mapping():
            return {
                key: MASK
                if masked_keys is not None and masked_keys.search(str(key))
                else _mapped(inner, change, masked_keys)
                for key, inner in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [
                _mapped(inner, change, masked_keys)
                for inner in (sorted(value) if isinstance(value, set | frozenset) else value)
            ]
        case BaseException():
            return change(str(value))
    return value


# -- RE2's syntax by means of `re`: what both understand alike passes, `\z`, `$` and POSIX classes are translated, and
# what RE2 lacks is refused. Unlike RE2's, a match may take exponential time if its pattern invites it.

_TOKEN: Final = re.compile(
    r"\\.|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]|\(\?[^:)>]*[:)>]?|[*+?}]\+|.", re.DOTALL
)
_POSIX_CLASS: Final = re.compile(r"\[:(\^?)(\w+):\]")
_POSIX_CLASSES: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t-\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern in RE2's syntax as one of Python's.

    Raises:
      PatternInvalid: RE2 would refuse it, or it uses what has no counterpart here.
    """
    translated = "".join(_translated(token, pattern) for token in _TOKEN.findall(pattern))
    try:
        with warnings.catch_warnings():
            # Python's doubts about sets like `[[a]` are not about RE2, which reads them as we compile them.
            warnings.simplefilter("ignore")
            return re.compile(translated, re.ASCII)
    except (
        re.error,
        OverflowError,
        RecursionError,
        ValueError,
    ) as error:  # ValueError: a number of 5,000 digits
        raise PatternInvalid(f"error parsing regexp: {error}: `{pattern}`") from error


def _translated(token: str, pattern: str) -> str:
    if token == r"\z" or (token == "$" and not re.match(r"\(\?[is]*m", pattern)):
        return r"\Z"
    if token.startswith("["):
        return _POSIX_CLASS.sub(lambda found: _posix_class(found, pattern), token)
    is_lookaround = re.match(r"\(\?(<?[=!]|>|\(|P=|#)", token)
    is_possessive = len(token) == 2 and token[1] == "+" and token[0] in "*+?}"
    if is_lookaround or is_possessive or re.fullmatch(r"\\[1-9Z]", token):
        raise PatternInvalid(
            f"error parsing regexp: invalid or unsupported Perl syntax: `{token}` in `{pattern}`"
        )
    return token


def _posix_class(found: re.Match[str], pattern: str) -> str:
    characters = _POSIX_CLASSES.get(found[2])
    if characters is None or found[1]:
        raise PatternInvalid(
            f"error parsing regexp: invalid character class range: `{found[0]}` in `{pattern}`"
        )
    return characters
