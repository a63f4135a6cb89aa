"""An OCSP responder and CRLs: `openssl ocsp` with a CA's key, behind a gate at a fixed address
that can be shut or answer wrongly. The gate's faults are fakes: no real responder shows them on
demand."""
import datetime
import http.client
import http.server
import subprocess
import threading


from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .ports import free_port
from .process import Process
from .waiting import wait_until

OCSP = "application/ocsp-response"


class Responder:
    """`url` goes into certificates, `crl_url` as well. open(issuer) starts openssl's responder for
    a CA; give it its certificates with know(). `minutes`: how long its answers hold."""

    def __init__(self, folder, minutes=60):
        folder.mkdir()
        self._folder = folder
        self._minutes = minutes
        self._known = {}  # serial → "V" or (date, reason)
        self._process = None
        self.fault = None  # handler → True if it has answered
        self.requests = []
        self.crl = None  # DER
        gate = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_GET(self):
                gate._handle(self, b"")

            def do_POST(self):
                gate._handle(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_):
                pass

        self.port = free_port()
        self._handler = Handler
        self._server = None
        self.up()
        self.url = f"http://127.0.0.1:{self.port}/ocsp"
        self.crl_url = f"http://127.0.0.1:{self.port}/list.crl"

    # The gate

    def up(self):
        http.server.ThreadingHTTPServer.daemon_threads = True
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def down(self):
        """Connections are refused from now on."""
        self._server.shutdown()
        self._server.server_close()
        self._server = None

    def _handle(self, handler, body):
        self.requests.append((handler.command, handler.path, dict(handler.headers)))
        if self.fault and self.fault(handler, body):
            return
        if handler.path == "/list.crl":
            tag = f'"{hash(self.crl)}"'
            if handler.headers.get("If-None-Match") == tag:
                return answer(handler, b"", status=304)
            return answer(handler, self.crl, "application/pkix-crl", fields={"ETag": tag})
        answer(handler, self.ask(handler.command, handler.path, body))

    def ask(self, method, path, body):
        """What the real responder says."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        fields = {"Content-Type": "application/ocsp-request"} if method == "POST" else {}
        connection.request(method, path.removeprefix("/ocsp") or "/", body or None, fields)
        answer = connection.getresponse().read()
        connection.close()
        return answer

    # The responder

    def open(self, issuer, signer=None):
        """`issuer`: (certificate, key) in PEM. `signer`: likewise, whom it has authorized."""
        for name, pem in zip(("ca.pem", "ca.key"), issuer):
            (self._folder / name).write_bytes(pem)
        for name, pem in zip(("signer.pem", "signer.key"), signer or issuer):
            (self._folder / name).write_bytes(pem)
        self._restart()

    def know(self, *certificates, revoked=None):
        """As good; or revoked for that reason, since an hour."""
        for certificate in certificates:
            self._known[certificate.serial_number] = revoked
        self._restart()

    def forget(self):
        self._known.clear()
        self._restart()

    def _restart(self):
        if self._process:
            self._process.stop()
        when = datetime.datetime.utcnow() - datetime.timedelta(hours=1)
        lines = ""
        for serial, reason in self._known.items():
            text = f"{serial:X}"
            text = "0" * (len(text) % 2) + text
            state = (f"R\t400101000000Z\t{when:%y%m%d%H%M%SZ},{reason}" if reason
                     else "V\t400101000000Z\t")
            lines += f"{state}\t{text}\tunknown\t/CN={text}\n"
        (self._folder / "index.txt").write_text(lines)
        self._port = free_port()
        self._process = Process(
            ["openssl", "ocsp", "-index", self._folder / "index.txt", "-port", str(self._port),
             "-rsigner", self._folder / "signer.pem", "-rkey", self._folder / "signer.key",
             "-CA", self._folder / "ca.pem", "-nmin", str(self._minutes), "-ignore_err"],
            self._folder / f"openssl-{self._port}.log")
        self._process.wait_for(self._is_ready, "openssl answers")

    def _is_ready(self):
        try:
            return self.ask("GET", "/", b"")
        except OSError:
            return False

    def make_crl(self, issuer, revoked=(), hours=24):
        """A list of that CA's, with the reason keyCompromise for all."""
        now = datetime.datetime.utcnow()
        certificate = x509.load_pem_x509_certificate(issuer[0])
        builder = (x509.CertificateRevocationListBuilder().issuer_name(certificate.subject)
                   .last_update(now - datetime.timedelta(minutes=1))
                   .next_update(now + datetime.timedelta(hours=hours)))
        for one in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number)
            entry = entry.revocation_date(now - datetime.timedelta(hours=1)).add_extension(
                x509.CRLReason(x509.ReasonFlags.key_compromise), False)
            builder = builder.add_revoked_certificate(entry.build())
        key = serialization.load_pem_private_key(issuer[1], None)
        self.crl = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def close(self):
        if self._server:
            self.down()
        if self._process:
            self._process.stop()


def delegate(issuer, eku=True, days=30):
    """(certificate, key) in PEM of a responder that this CA has authorized (RFC 6960 4.2.2.2)."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = x509.load_pem_x509_certificate(issuer[0])
    now = datetime.datetime.utcnow()
    builder = (x509.CertificateBuilder()
               .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "responder")]))
               .issuer_name(certificate.subject).public_key(key.public_key())
               .serial_number(x509.random_serial_number())
               .not_valid_before(now - datetime.timedelta(hours=2))
               .not_valid_after(now + datetime.timedelta(days=days)))
    if eku:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)
    signed = builder.sign(serialization.load_pem_private_key(issuer[1], None), hashes.SHA256())
    return (signed.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                              serialization.NoEncryption()))


def answer(handler, body, kind=OCSP, status=200, fields=None):
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    for name, value in (fields or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
    return True


def staple(port, name, version="-tls1_3", kind=None, roots=None):
    """(status, serial of the staple, serial of the certificate) of a handshake by `openssl
    s_client -status`; a status of None: it was given no staple. `kind`: "RSA" or "ECDSA"."""
    algorithms = {"RSA": ["-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"],
                  "ECDSA": ["-sigalgs", "ECDSA+SHA256"], None: []}[kind]
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name,
               "-status", version, *algorithms]
    if roots:
        command += ["-CAfile", str(roots)]
    text = subprocess.run(command, input="", capture_output=True, text=True, timeout=10).stdout
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    assert "OCSP response:" in text and begin in text, text
    shown = x509.load_pem_x509_certificate(
        (begin + text.split(begin)[-1].split(end)[0] + end).encode()).serial_number
    if "OCSP response: no response sent" in text:
        return None, None, shown
    assert "OCSP Response Status: successful" in text, text
    part = text.split("Serial Number: ")[1]
    status = text.split("Cert Status: ")[1].split("\n")[0].strip()
    return status, int(part.split("\n")[0], 16), shown


def wait_for_staple(port, name, what="a staple", timeout=20, **options):
    """Until handshakes have a good one that belongs to the certificate."""
    def is_there():
        status, stapled, shown = staple(port, name, **options)
        return status == "good" and stapled == shown and shown
    return wait_until(is_there, what, timeout, every=0.05)


