"""Sealing of column values (spec: storage.md 3.1).

A sealed value is text: ``02``, then in base64 the label of the key, a nonce, and what AES-256-GCM made of the
plaintext. The key is the SHA-256 of a passphrase. Everything is sealed with the active key and opened with the key that
the label names, so several keys can be known while values move from one to another.
"""

import os
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ENCODING: Final = "02"
NONCE_BYTES: Final = 12
LABEL_BYTES_MAX: Final = 127


class BadKeys(ValueError):
    """The configured keys can't be used; the text is upstream's (spec: config.md 2.4)."""


class CannotDecrypt(ValueError):
    """A stored value could not be opened: wrong framing, unknown key, or not what was sealed."""


class KeyUnknown(CannotDecrypt):
    """The value was sealed with a key that is not among ours."""

    def __init__(self, label: str) -> None:
        super().__init__(f'Key with label "{label}" was not found')
        self.label = label


class KeyDoesNotFit(CannotDecrypt):
    """Our key of that label does not open the value: it is another one, or the value is damaged."""

    def __init__(self, label: str) -> None:
        super().__init__("cipher: message authentication failed")
        self.label = label


NONCES_AT_ONCE: Final = 512
"""Nonces asked of the kernel in one call. A call costs as much as sealing a small value; divided by so many it is nothing."""


def random_nonces() -> Iterator[bytes]:
    """Fresh random nonces for ever, none of them given twice."""
    while True:
        supply = os.urandom(NONCE_BYTES * NONCES_AT_ONCE)
        for begin in range(0, len(supply), NONCE_BYTES):
            yield supply[begin : begin + NONCE_BYTES]


class Keyring:
    """The keys by their labels, one of them active.

    ``nonce`` gives 12 fresh bytes a call, random ones by default; only a test has a reason to replace it.

    Raises:
      BadKeys: no keys, no active label, a label that is empty or longer than 127 bytes, or an active label without key.
    """

    __slots__ = ("_decrypt", "_decrypt_active", "_encrypt", "_header", "_nonce", "_nonce_end", "active_label")

    def __init__(
        self, keys: Mapping[str, str], active_label: str, *, nonce: Callable[[], bytes] | None = None
    ) -> None:
        if not keys:
            raise BadKeys("must have at least one encryption key set")
        if not active_label:
            raise BadKeys("must select an active encryption key")
        for label in keys:
            if not label:
                raise BadKeys("a key label is required")
            if len(label.encode()) > LABEL_BYTES_MAX:
                raise BadKeys("Key label is longer than 127 bytes")
        if active_label not in keys:
            raise BadKeys("the selected active key must be listed on the encryption keys flag")
        self.active_label: Final = active_label
        ciphers = {
            label.encode(): AESGCM(sha256(passphrase.encode()).digest()) for label, passphrase in keys.items()
        }
        active = active_label.encode()
        self._encrypt = ciphers[active].encrypt
        self._decrypt = {label: cipher.decrypt for label, cipher in ciphers.items()}
        self._decrypt_active = ciphers[active].decrypt
        self._header = bytes((len(active),)) + active
        self._nonce_end = len(self._header) + NONCE_BYTES
        self._nonce = random_nonces().__next__ if nonce is None else nonce

    @property
    def labels(self) -> frozenset[str]:
        return frozenset(label.decode() for label in self._decrypt)

    def seal(self, plaintext: bytes) -> str:
        """The column text for ``plaintext``, made with the active key and a nonce of its own."""
        nonce = self._nonce()
        sealed: bytes = self._header + nonce + self._encrypt(nonce, plaintext, None)
        return ENCODING + b2a_base64(sealed, newline=False).decode("ascii")

    def open(self, text: str) -> bytes:
        """The plaintext of a column.

        Raises:
          CannotDecrypt: with upstream's text where it has one. It panics on broken framing, which is an error here.
        """
        # Nearly all values are sealed with the active key: that one is not looked up. Whatever is wrong is found out below.
        header, nonce_end = self._header, self._nonce_end
        try:
            sealed = a2b_base64(text[len(ENCODING) :], strict_mode=True)
            if text.startswith(ENCODING) and sealed.startswith(header):
                return self._decrypt_active(sealed[len(header) : nonce_end], sealed[nonce_end:], None)
        except (InvalidTag, ValueError):
            pass
        return self._open_any(text)

    def _open_any(self, text: str) -> bytes:
        """`open` for a value that was sealed with any key, or has line breaks in it, or can't be opened."""
        if not text.startswith(ENCODING):
            raise CannotDecrypt(f"unknown encoding: [{' '.join(map(str, text[:2].encode()))}]")
        # Upstream's decoder passes over line breaks.
        encoded = text[len(ENCODING) :].replace("\n", "").replace("\r", "")
        try:
            sealed = a2b_base64(encoded, strict_mode=True)
        except ValueError as error:
            raise CannotDecrypt(f"illegal base64 data: {error}") from error
        # An empty value has no label length to read; the slices below come out short, never fail.
        label_end = 1 + sealed[0] if sealed else 1
        nonce_end = label_end + NONCE_BYTES
        if len(sealed) < nonce_end:
            raise CannotDecrypt("the value ends before its key label and nonce do")
        label = sealed[1:label_end]
        decrypt = self._decrypt.get(label)
        if decrypt is None:
            raise KeyUnknown(label.decode(errors="replace"))
        try:
            return decrypt(sealed[label_end:nonce_end], sealed[nonce_end:], None)
        except (InvalidTag, ValueError) as error:
            raise KeyDoesNotFit(label.decode(errors="replace")) from error
