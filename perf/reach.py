"""Looks, before anything is measured, whether a BBS answers at a URL with the given certificates; if not, says what to do."""

import socket
import ssl

from perf.load import Credentials, LoadGenerator

ANSWER_MAX_S = 10.0


class NoAnswer(Exception):
    """Nobody can be measured there; the text says in one line why, and what to do about it."""


def require_answer(name: str, credentials: Credentials) -> None:
    """
    Raises:
      NoAnswer: there is no BBS, or it does not take our certificate, or we not its.
    """
    where = f"server {name}, {credentials.url}"
    for option, file in (("ca", credentials.ca), ("cert", credentials.cert), ("key", credentials.key)):
        if file is not None and not file.is_file():
            raise NoAnswer(f"{where}: {option}={file}: there is no such file")
    if (credentials.cert is None) != (credentials.key is None):
        raise NoAnswer(f"{where}: cert= and key= go together")
    try:
        target = credentials.target()
    except ssl.SSLError as error:
        raise NoAnswer(f"{where}: ca=, cert= or key= cannot be used: {_short(error)}") from error
    try:
        with LoadGenerator(target, connections=1) as generator:
            sample = generator.run([target.post("/v1/ping")], max_s=ANSWER_MAX_S)
    except ssl.SSLCertVerificationError as error:
        raise NoAnswer(
            f"{where}: its certificate is refused ({error.verify_message}): ca= must have its authority, and the URL a name of"
            " the certificate"
        ) from error
    except ssl.SSLError as error:
        raise NoAnswer(
            f"{where}: no TLS connection ({_short(error)}): check the port, cert= and key="
        ) from error
    except socket.gaierror as error:
        raise NoAnswer(f"{where}: {target.host} is no known host: check the URL") from error
    except OSError as error:
        raise NoAnswer(
            f"{where}: {error.strerror or error}: check host and port, and that it runs"
        ) from error
    if sample.errors and credentials.url.startswith("https") and "SSL" in sample.first_error:
        raise NoAnswer(
            f"{where}: our certificate is refused ({sample.first_error}): give cert= and key= that it accepts"
        )
    if not sample.good:
        raise NoAnswer(f"{where}: it does not answer a ping as a BBS ({sample.trouble()}): check the URL")


def _short(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
