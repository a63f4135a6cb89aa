"""Faults between mdfront and a real CA: an HTTPS server that passes everything on to Pebble, but
for what a rule says. Each case has a host of its own, <case>.ca.localhost, so that many faults run
beside each other and every request, even for a directory or a nonce, belongs to one case. Pebble
makes its URLs of the Host field, which is passed on as it is: it takes this server for itself, and
signatures, which cover the URL, stay valid."""
import base64
import email.utils
import http.client
import http.server
import json
import socket
import ssl
import struct
import threading
import time

from .ports import free_port

_ENDPOINTS = (  # Pebble's paths
    ("/dir", "directory"), ("/nonce-plz", "new-nonce"), ("/sign-me-up", "new-account"),
    ("/my-account/", "account"), ("/order-plz", "new-order"), ("/my-order/", "order"),
    ("/finalize-order/", "finalize"), ("/authZ/", "authorization"), ("/chalZ/", "challenge"),
    ("/certZ/", "certificate"), ("/renewal-info/", "renewal-info"))
_HOP_BY_HOP = ("connection", "transfer-encoding", "content-length")


class Answer:
    """An HTTP answer that may be edited. `length`: what Content-Length says, if not the truth."""

    def __init__(self, status, fields=(), body=b""):
        self.status = status
        self.fields = list(fields)
        self.body = body if isinstance(body, bytes) else body.encode()
        self.length = None

    @property
    def json(self):
        return json.loads(self.body)

    def set_json(self, value):
        self.body = json.dumps(value).encode()

    def remove(self, name):
        self.fields = [field for field in self.fields if field[0].lower() != name.lower()]

    def set(self, name, value):
        self.remove(name)
        self.fields.append((name, value))


class Exchange:
    """One request, as a rule's action sees it. What the action returns is the answer; bytes: they
    are all that is sent; None: the connection is reset."""

    def __init__(self, injector, case, method, path, fields, body):
        self.case = case
        self.method = method
        self.path = path
        self.fields = fields
        self.body = body
        self.endpoint = next((name for prefix, name in _ENDPOINTS if path.startswith(prefix)), path)
        self.when = time.monotonic()
        self.injector = injector

    @property
    def payload(self):
        """What the client signed, as JSON; {} if there is nothing."""
        return self._part("payload")

    @property
    def protected(self):
        """The header of its signature, as JSON."""
        return self._part("protected")

    def _part(self, name):
        text = json.loads(self.body)[name] if self.method == "POST" else ""
        return json.loads(decode(text)) if text else {}

    def forward(self):
        """Has the CA do what is asked for."""
        return self.injector.forward(self)


class Rule:
    """`action(exchange)` answers requests of `endpoint` (None: all), from the one after the first
    `skip` on, `times` of them. `when(exchange)` says which ones it is about at all."""

    def __init__(self, endpoint, action, times=None, skip=0, when=None):
        self.endpoint = endpoint
        self.action = action
        self.times = times
        self.skip = skip
        self.when = when
        self.hits = 0

    def takes(self, exchange):
        if self.endpoint not in (None, exchange.endpoint):
            return False
        if self.when and not self.when(exchange):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True


def decode(text):
    """base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# Actions

def answer(status, body="", content_type="text/plain", **fields):
    """Answers without asking the CA; field names with _ for -, values may be functions."""
    def act(_):
        made = [(name.replace("_", "-"), value() if callable(value) else value)
                for name, value in fields.items()]
        return Answer(status, [("Content-Type", content_type), *made], body)
    return act


def problem(status, kind, detail, subproblems=(), **fields):
    """A problem document with the CA's word for it (RFC 8555 6.7), and a good nonce."""
    document = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, "status": status}
    if subproblems:
        document["subproblems"] = list(subproblems)

    def act(exchange):
        made = answer(status, json.dumps(document), "application/problem+json", **fields)(exchange)
        nonce = exchange.injector.nonce(exchange)
        return Answer(made.status, [*made.fields, ("Replay-Nonce", nonce)], made.body)
    return act


def edit(change):
    """The CA does what is asked for; `change(answer)` alters what it says."""
    def act(exchange):
        made = exchange.forward()
        change(made)
        return made
    return act


def members(remove=(), **values):
    """The CA's JSON answer with other members; names with _ inside stay as they are."""
    def change(made):
        document = made.json
        for name in remove:
            document.pop(name, None)
        made.set_json({**document, **values})
    return edit(change)


def lose(exchange):
    """The CA does it, and its answer is lost on the way. The beginning comes: where there is
    nothing at all, HTTP clients send a request again by themselves."""
    exchange.forward()
    return b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"


def reset(_):
    """The request never gets there."""


def http_date(seconds):
    """A moment from now, as Retry-After has it."""
    return lambda: email.utils.formatdate(time.time() + seconds, usegmt=True)


class FaultInjector:
    """Between clients and `ca`, a Pebble, which may be exchanged."""

    def __init__(self, authority, ca):
        self.ca = ca
        self.port = free_port()
        self.cases = {}  # case: its rules
        self.requests = {}  # case: all exchanges
        self.authority = authority
        self._tls_faults = {}  # case: SSLContext, or None
        self._released = threading.Event()
        self._lock = threading.Lock()
        files = authority.issue("localhost", "*.ca.localhost", label=f"injector-{self.port}")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(files.chain, files.key)
        self._to_ca = ssl.create_default_context(cafile=str(authority.root))
        self._server = _Server(("127.0.0.1", self.port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def directory(self, case):
        return f"https://{case}.ca.localhost:{self.port}/dir"

    def arm(self, case, *rules):
        with self._lock:
            self.cases[case] = list(rules)

    def break_tls(self, case, fault):
        """`fault`: the SSLContext that handshakes of the case get; None: they are cut."""
        self._tls_faults[case] = fault

    def lift(self, case):
        """Ends the faults of a case; what hangs goes on hanging until release()."""
        with self._lock:
            self.cases[case] = []
            self._tls_faults.pop(case, None)

    def hang(self, _):
        """An action: no answer, until release()."""
        self._released.wait(120)

    def release(self):
        self._released.set()

    def asked(self, case, endpoint=None):
        """The requests of a case so far."""
        with self._lock:
            return [one for one in self.requests.get(case, ())
                    if endpoint in (None, one.endpoint)]

    def context_for(self, hello):
        """For the case that a ClientHello names, in plain text."""
        for case, fault in list(self._tls_faults.items()):
            if f"{case}.ca.localhost".encode() in hello:
                return fault
        return self._context

    def serve(self, exchange):
        """The answer to one request."""
        with self._lock:
            self.requests.setdefault(exchange.case, []).append(exchange)
            rule = next((rule for rule in self.cases.get(exchange.case, ())
                         if rule.takes(exchange)), None)
        return rule.action(exchange) if rule else exchange.forward()

    def forward(self, exchange):
        return self._ask(exchange.method, exchange.path, exchange.fields, exchange.body)

    def nonce(self, exchange):
        fields = [("Host", dict(exchange.fields)["Host"]), ("User-Agent", "tests")]
        return dict(self._ask("HEAD", "/nonce-plz", fields, b"").fields)["Replay-Nonce"]

    def _ask(self, method, path, fields, body):
        """None if the CA is down: then our client is cut off, too."""
        connection = http.client.HTTPSConnection("localhost", self.ca.port, timeout=30,
                                                 context=self._to_ca)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in fields:
                if name.lower() not in _HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            got = connection.getresponse()
            kept = [field for field in got.getheaders() if field[0].lower() not in _HOP_BY_HOP]
            return Answer(got.status, kept, got.read())
        except OSError:
            return None
        finally:
            connection.close()

    def close(self):
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True
    block_on_close = False

    def __init__(self, address, injector):
        super().__init__(address, _Handler)
        self.injector = injector

    def handle_error(self, request, client_address):
        """Connections that break are what this is for."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def setup(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Here, on the connection's own thread: a client may be slow.
        context = self.server.injector.context_for(self.request.recv(4096, socket.MSG_PEEK))
        if context is None:
            raise ConnectionAbortedError
        self.request = context.wrap_socket(self.request, server_side=True)
        super().setup()

    def do_POST(self):
        host = self.headers["Host"]
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        exchange = Exchange(self.server.injector, host.split(".")[0], self.command, self.path,
                            self.headers.items(), body)
        made = self.server.injector.serve(exchange)
        if made is None or isinstance(made, bytes):
            self.close_connection = True
            if made:
                self.wfile.write(made)
                return
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                       struct.pack("ii", 1, 0))
            return
        lines = [f"HTTP/1.1 {made.status} {http.client.responses.get(made.status, 'Odd')}"]
        lines += [f"{name}: {value}" for name, value in made.fields]
        length = len(made.body) if made.length is None else made.length
        if made.status not in (204, 304):
            lines.append(f"Content-Length: {length}")
        if length != len(made.body):
            self.close_connection = True
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        self.wfile.write(head + (b"" if self.command == "HEAD" else made.body))

    do_GET = do_HEAD = do_POST

    def log_message(self, *_):
        """No access log."""


class ConnectProxy:
    """An HTTP proxy for CONNECT. `fault`: what it answers instead (bytes), or None."""

    def __init__(self, fault=None):
        self.fault = fault
        self.port = free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        head = b""
        with client:
            while b"\r\n\r\n" not in head:
                data = client.recv(4096)
                if not data:
                    return
                head += data
            if self.fault is not None:
                client.sendall(self.fault)
                return
            port = int(head.split(b" ")[1].rpartition(b":")[2])
            with socket.create_connection(("127.0.0.1", port)) as server:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                other = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
                other.start()
                _pass_on(client, server)
                other.join()

    def close(self):
        self._listener.close()


def _pass_on(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other one went
