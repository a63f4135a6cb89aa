"""Certificates for tests: one CA per test session, leaves for any names and key."""
import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import (AuthorityInformationAccessOID, ExtendedKeyUsageOID,
                                   NameOID)

HOUR = datetime.timedelta(hours=1)
_CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


class CertificateFiles:
    """A certificate chain and its key, as files."""

    def __init__(self, chain, key, certificate):
        self.chain = chain
        self.key = key
        self.certificate = certificate

    @property
    def serial(self):
        return f"{self.certificate.serial_number:X}"


class Authority:
    """A CA with its root in `root`."""

    def __init__(self, folder):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign(_name("mdfront test root"), self._key.public_key(), 3650, [
            (x509.BasicConstraints(ca=True, path_length=None), True),
            (x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), False)])
        self.root = folder / "root.pem"
        self.root.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject, public_key, days, extensions, serial=None, age=HOUR):
        now = datetime.datetime.utcnow()
        builder = (x509.CertificateBuilder()
                   .subject_name(subject)
                   .issuer_name(_name("mdfront test root"))
                   .public_key(public_key)
                   .serial_number(serial or x509.random_serial_number())
                   .not_valid_before(now - age)
                   .not_valid_after(now + datetime.timedelta(days=days)))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())

    def issuer(self):
        """(certificate, key) in PEM of what signs the certificates."""
        return self.root.read_bytes(), _pem(self._key)

    def issue(self, *names, kind="P-256", days=90, label=None, age=HOUR, responder=None, crl=None):
        """A certificate for `names` (DNS names or IP addresses) in files of its own. With negative
        `days` it has expired, if it is old enough: `age` is since when it is valid. `responder`,
        `crl`: URLs that it has; then its issuer's certificate follows it in the file."""
        key = (rsa.generate_private_key(65537, int(kind.split()[1])) if kind.startswith("RSA")
               else ec.generate_private_key(_CURVES[kind]))
        certificate = self.certify(key.public_key(), names, days, age, responder, crl)
        label = label or f"{names[0].replace('*', '_')}-{certificate.serial_number:x}"
        files = CertificateFiles(self._folder / f"{label}.pem", self._folder / f"{label}.key",
                                 certificate)
        chain = certificate.public_bytes(serialization.Encoding.PEM)
        files.chain.write_bytes(chain + self.root.read_bytes() if responder or crl else chain)
        files.key.touch(mode=0o600)
        files.key.write_bytes(_pem(key))
        return files

    def certify(self, public_key, names, days=90, age=HOUR, responder=None, crl=None):
        """A certificate for somebody's key, in memory."""
        alternatives = []
        for name in names:
            try:
                alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
            except ValueError:
                alternatives.append(x509.DNSName(name))
        urls = []
        if responder:
            urls.append((x509.AuthorityInformationAccess([x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(responder))]),
                False))
        if crl:
            urls.append((x509.CRLDistributionPoints([x509.DistributionPoint(
                [x509.UniformResourceIdentifier(crl)], None, None, None)]), False))
        return self._sign(_name(names[0]), public_key, days, urls + [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (x509.SubjectAlternativeName(alternatives), False),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False)],
            age=age)
