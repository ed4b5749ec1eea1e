"""gRPC in the TLS profile of Diego's components. Whoever needs ``grpc`` imports it from here. spec: security.md §1

gRPC's default has two suites more than the profile, those for ECDSA keys below TLS 1.3. The suites can be set only through
an environment variable that gRPC reads once, while it is imported; so it must be imported here, after the variable is set.
"""

import os

from bbs.tls.contexts import TLS12_SUITES, TLSFiles, client_context, server_context

os.environ.setdefault("GRPC_SSL_CIPHER_SUITES", ":".join(TLS12_SUITES))

import grpc as grpc


def channel_credentials(files: TLSFiles) -> grpc.ChannelCredentials:
    """Credentials that trust the CA file alone and show our certificate. Files are read now, and never again.

    Raises:
      TLSFilesInvalid: as `bbs.tls.contexts.client_context`.
    """
    # gRPC takes any bytes and complains only when a connection fails. This finds out at the start what is wrong with them.
    client_context(ca_file=files.ca_file, cert_file=files.cert_file, key_file=files.key_file)
    return grpc.ssl_channel_credentials(
        root_certificates=_read(files.ca_file),
        private_key=_read(files.key_file),
        certificate_chain=_read(files.cert_file),
    )


def server_credentials(files: TLSFiles) -> grpc.ServerCredentials:
    """Credentials of a server that demands a client certificate from the CAs in the CA file.

    Raises:
      TLSFilesInvalid: as `bbs.tls.contexts.server_context`.
    """
    server_context(ca_file=files.ca_file, cert_file=files.cert_file, key_file=files.key_file)
    return grpc.ssl_server_credentials(
        [(_read(files.key_file), _read(files.cert_file))],
        root_certificates=_read(files.ca_file),
        require_client_auth=True,
    )


def _read(path: str | os.PathLike[str]) -> bytes:
    with open(path, "rb") as file:
        return file.read()
