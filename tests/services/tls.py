"""Certificates for the servers and their clients, made anew for each test run."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ._net import LOOPBACK

_PEM = serialization.Encoding.PEM


class Authority:
    """Somebody who vouches for certificates: `file` is what those who trust it need.

    With `host` its own certificate may also be that of a server there.
    """

    def __init__(self, folder: Path, name: str = "authority", host: str | None = None) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=True, path_length=None), True)
        ]
        if host is not None:
            extensions.append(_at(host))
        self._certificate = self._sign(self._name, self._key.public_key(), *extensions)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._certificate.public_bytes(_PEM))

    def server(self, host: str = LOOPBACK) -> Path:
        """A key and its certificate for a server at `host`, in one file."""
        return self._issue(host, _at(host))

    def server_by_common_name(self, host: str) -> Path:
        """As `server`, but with no name of the host but the subject's, as it once was done."""
        return self._issue(host)

    def itself(self) -> Path:
        """The authority's own key and certificate for a server, in one file."""
        return self._write(f"{self.file.stem}-itself", self._key, self._certificate)

    def client(self, name: str) -> Path:
        """A key and its certificate for a client, in one file."""
        return self._issue(name)

    def _issue(self, name: str, *extensions: tuple[x509.ExtensionType, bool]) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        return self._write(name, key, self._sign(_named(name), key.public_key(), *extensions))

    def _write(
        self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
    ) -> Path:
        file = self._folder / f"{name}.pem"
        form, open_to_all = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        # The order that Kafka reads: the key, and then its certificate.
        file.write_bytes(
            key.private_bytes(_PEM, form, open_to_all) + certificate.public_bytes(_PEM)
        )
        return file

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        *extensions: tuple[x509.ExtensionType, bool],
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _at(host: str) -> tuple[x509.ExtensionType, bool]:
    try:
        place: x509.GeneralName = x509.IPAddress(ip_address(host))
    except ValueError:
        place = x509.DNSName(host)
    return x509.SubjectAlternativeName([place]), False
