"""Stands in for the tailscale daemon: its local API for certificates on a Unix socket, refusals and
texts as in tailscale's ipn/localapi/cert.go and localapi.go. A real one has to log in at
tailscale.com, which no test can."""
import http.server
import pathlib
import socketserver
import threading
import urllib.parse

from cryptography.hazmat.primitives import serialization

_PREFIX = "/localapi/v0/cert/"


def as_the_daemon_keeps_it(files, authority):
    """(key, chain) of CertificateFiles: the key as Go writes it ("EC PRIVATE KEY"), the issuer with
    the leaf."""
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    return (key.private_bytes(serialization.Encoding.PEM,
                              serialization.PrivateFormat.TraditionalOpenSSL,
                              serialization.NoEncryption()),
            files.chain.read_bytes() + authority.root.read_bytes())


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):  # noqa: N802, http.server's name
        status, body = self.server.daemon.answer_to(self)
        self.send_response(status)
        self.send_header("Tailscale-Version", "1.90.6-stand-in")
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    def address_string(self):
        return "unix"


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class Tailscaled:
    """`certificates`: name → (key, chain). `script`: called with a name, may give (status, body)
    instead."""

    def __init__(self, path, authority, start=True):
        self.path = pathlib.Path(path)
        self.authority = authority
        self.certificates = {}
        self.script = lambda name: None
        self.requests = []  # names asked for
        self._server = None
        if start:
            self.start()

    @property
    def url(self):
        return f"file://localhost{self.path}"

    def start(self):
        self._server = _Server(str(self.path), _Handler)
        self._server.daemon = self
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def issue(self, name, **options):
        """Orders a certificate, as the daemon does by itself; gives the CertificateFiles."""
        files = self.authority.issue(name, **options)
        self.certificates[name] = as_the_daemon_keeps_it(files, self.authority)
        return files

    def answer_to(self, request):
        if (request.headers["Host"] != "local-tailscaled.sock" or "Origin" in request.headers
                or "Referer" in request.headers):
            return 403, b"invalid localapi request\n"
        url = urllib.parse.urlsplit(request.path)
        if not url.path.startswith(_PREFIX):
            return 404, b"404 page not found\n"
        name = url.path[len(_PREFIX):]
        self.requests.append(name)
        if (answer := self.script(name)) is not None:
            return answer
        if name not in self.certificates:
            known = " ".join(f'"{one}"' for one in self.certificates)
            return 500, f'invalid domain "{name}"; must be one of [{known}]\n'.encode()
        key, chain = self.certificates[name]
        kind = urllib.parse.parse_qs(url.query).get("type", ["cert"])[0]
        parts = {"crt": chain, "cert": chain, "key": key, "pair": key + chain}
        if kind not in parts:
            return 400, b'invalid type; want "cert" (default), "key", or "pair"\n'
        return 200, parts[kind]

    def close(self):
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self.path.unlink(missing_ok=True)
