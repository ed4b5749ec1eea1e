"""Secrets that are easy to find again: planted in a server, and looked for in all that it says, in every form of them."""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

BETWEEN = "/+ %'@\"é"
"""Stands between a secret's words: what URLs, JSON and shells write differently."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A secret of several words. Each is looked for by itself, so that half a secret is found as well as a whole one; they
    look the same percent-encoded, in JSON and in Python's notation.
    """

    name: str
    words: tuple[bytes, ...]

    @classmethod
    def named(cls, name: str) -> Self:
        digits = hashlib.sha256(name.encode()).hexdigest()
        # Letters that are no hexadecimal digits, so that nothing else looks like one.
        letters = "".join("ghijklmnopqrstuvwxyz"[int(digit, 16)] for digit in digits)
        return cls(name, (letters[:12].encode(), letters[12:24].upper().encode()))

    @classmethod
    def of_key(cls, file: Path) -> Self:
        """An RSA key. Its words are pieces of what is private in it, each within one line of the PEM file."""
        key = serialization.load_pem_private_key(file.read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        der = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        exponent = key.private_numbers().d
        first = der.index(exponent.to_bytes((exponent.bit_length() + 7) // 8, "big"))
        # A line of the file has 48 bytes.
        starts = range((first // 48 + 1) * 48, len(der) - 48, 48)
        return cls(file.name, tuple(der[at + 6 : at + 18] for at in starts))

    @property
    def text(self) -> str:
        """The secret as it is planted."""
        return BETWEEN.join(word.decode() for word in self.words)


def forms(word: bytes) -> Iterator[bytes]:
    """How a word may look: as it is, in hexadecimal, in base64 at each offset."""
    yield word
    yield word.hex().encode()
    yield word.hex().upper().encode()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + word)
        # Without the digits that depend on what stands before and behind.
        inner = encoded[-(-offset * 8 // 6) : (offset + len(word)) * 8 // 6]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")


def found(canaries: Iterable[Canary], output: bytes) -> set[str]:
    """The names of those of which ``output`` has a word, in any form."""
    return {
        canary.name
        for canary in canaries
        if any(form in output for word in canary.words for form in forms(word))
    }


def told(canaries: Iterable[Canary], outputs: Mapping[str, bytes]) -> dict[str, set[str]]:
    """For each output that has any: which."""
    canaries = list(canaries)
    return {name: names for name, output in outputs.items() if (names := found(canaries, output))}
