import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from bbs.tls.development import CertificatesExist, DevelopmentCerts, make_development_certs

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentCerts:
    return make_development_certs(tmp_path_factory.mktemp("certs") / "made" / "too")


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_five_files_appear_and_keys_are_private(certs: DevelopmentCerts) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in certs.paths()}

    assert modes.keys() == {"ca.crt", "server.crt", "server.key", "client.crt", "client.key"}
    assert modes["server.key"] == modes["client.key"] == 0


@pytest.mark.parametrize(("which", "usages"), [("server_cert", [SERVER, CLIENT]), ("client_cert", [CLIENT])])
def test_both_pairs_are_rsa_and_of_the_ca(certs: DevelopmentCerts, which: str, usages: list[object]) -> None:
    certificate = read(getattr(certs, which))

    certificate.verify_directly_issued_by(read(certs.ca_cert))
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 2048
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == usages


def test_the_server_is_known_by_name_and_address(certs: DevelopmentCerts) -> None:
    names = read(certs.server_cert).extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.DNSName) == ["localhost", "*.bbs.service.cf.internal"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["127.0.0.1", "::1"]


@pytest.mark.parametrize("name", ["ca.crt", "server.crt", "server.key", "client.crt", "client.key"])
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")

    with pytest.raises(CertificatesExist, match=f"will not overwrite .*{name}"):
        make_development_certs(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"
