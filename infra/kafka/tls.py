"""Certificate authority of a system, and the certificates by which its processes authenticate each other.

The folder contains:

    ca.pem        the authority's certificate, which clients trust
    ca.key        the authority's key, readable only by the user who made the folder
    broker.pem    key and certificate of the brokers, readable only by their user
    member.pem    key and certificate of the gateway and the roles, for the same user
"""

import datetime
import ipaddress
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra.kafka.ports import LOOPBACK
from infra.secret_files import write_secret

BROKER = "broker"
"""Common name of the brokers' certificate. The owner of its key has every right."""

MEMBER = "member"
"""Common name of the certificate that the brokers' inner listeners require. It gives no right there, since
roles log in."""

_AUTHORITY = "envicutor"
_VALID_FOR = datetime.timedelta(days=10 * 365)
_CLOCKS_DIFFER = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of the authority and of the two certificates."""

    ca_file: Path
    broker_file: Path
    member_file: Path


def make_tls(folder: Path, account: pwd.struct_passwd | None) -> Tls:
    """Return the authority and the certificates in `folder`. Make those that are missing.

    `account` is the brokers' user, or None if they run as the current one.
    """
    tls = Tls(folder / "ca.pem", folder / "broker.pem", folder / "member.pem")
    if not tls.ca_file.exists() or not tls.broker_file.exists():
        _make_authority(folder / "ca.key", tls.ca_file)
        tls.member_file.unlink(missing_ok=True)  # the former authority signed it
        _make_certificate(tls.broker_file, BROKER, folder / "ca.key", account)
    if not tls.member_file.exists():
        _make_certificate(tls.member_file, MEMBER, folder / "ca.key", account)
    return tls


def _make_authority(key_file: Path, ca_file: Path) -> None:
    key, name = _new_key(), _name(_AUTHORITY)
    write_secret(key_file, _pem(key))
    ca_file.write_bytes(_public(_certificate(name, name, key, key, _authority_extensions)))
    ca_file.chmod(0o644)


def _make_certificate(
    file: Path, common_name: str, authority_key: Path, account: pwd.struct_passwd | None
) -> None:
    loaded = serialization.load_pem_private_key(authority_key.read_bytes(), password=None)
    assert isinstance(loaded, EllipticCurvePrivateKey)
    key = _new_key()
    certificate = _certificate(_name(common_name), _name(_AUTHORITY), key, loaded, _peer_extensions)
    write_secret(file, _pem(key) + _public(certificate), account)


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _new_key() -> EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: EllipticCurvePrivateKey,
    issuer_key: EllipticCurvePrivateKey,
    extended: Callable[[x509.CertificateBuilder], x509.CertificateBuilder],
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    plain = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + _VALID_FOR)
        # The strict checks of OpenSSL 3 require both extensions.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    return extended(plain).sign(issuer_key, hashes.SHA256())


def _authority_extensions(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    return builder.add_extension(constraints, critical=True).add_extension(usage, critical=True)


def _peer_extensions(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    # Brokers, controllers and the gateway use their certificate as servers and as clients.
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    addresses = [x509.IPAddress(ipaddress.ip_address(LOOPBACK)), x509.DNSName("localhost")]
    return builder.add_extension(purposes, critical=False).add_extension(
        x509.SubjectAlternativeName(addresses), critical=False
    )


def _pem(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
