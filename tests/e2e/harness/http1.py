"""A plain HTTP/1 client that shows the bytes: what is sent is what the test wrote."""
import socket
import ssl


class Response:
    """One response; `fields` in order, as received."""

    def __init__(self, version, status, reason, fields):
        self.version = version
        self.status = status
        self.reason = reason
        self.fields = fields
        self.body = b""
        self.trailers = []
        self.is_complete = False

    def __getitem__(self, name):
        """The value of a field, None if it is not there."""
        values = self.all(name)
        return values[0] if values else None

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def __repr__(self):
        return f"<{self.status} {self.reason} {self.fields} {self.body[:200]!r}>"


class Closed(Exception):
    """The server closed the connection where more was due."""


def parse_fields(lines):
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        assert colon, f"field line without a colon: {line!r}"
        fields.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))
    return fields


class Client:
    """One connection. `tls`: a host name for SNI and verification, or None for plain TCP."""

    def __init__(self, address, tls=None, roots=None, timeout=20.0, context=None, session=None):
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None or context is not None:
            context = context or tls_context(roots)
            try:
                self.socket = context.wrap_socket(self.socket, server_hostname=tls or None,
                                                  session=session)
            except BaseException:
                self.socket.close()
                raise
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Ends the connection with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                               b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def request(self, method="GET", target="/", host="example.test", fields=(), body=None,
                version="1.1"):
        """Writes a request; `fields` are pairs, or lines as they are to be sent."""
        lines = [f"{method} {target} HTTP/{version}"]
        if host is not None:
            lines.append(f"Host: {host}")
        for field in fields:
            lines.append(field if isinstance(field, str) else f"{field[0]}: {field[1]}")
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b""))
        self._is_head = method == "HEAD"

    _is_head = False

    def _more(self, size=65536):
        try:
            data = self.socket.recv(size)
        except (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            data = b""
        self._buffer += data
        return bool(data)

    def _line(self):
        while b"\n" not in self._buffer:
            if not self._more():
                raise Closed(f"in a line: {self._buffer!r}")
        line, self._buffer = self._buffer.split(b"\n", 1)
        assert line.endswith(b"\r"), f"line without CR: {line!r}"
        return line[:-1]

    def _exactly(self, size):
        while len(self._buffer) < size:
            if not self._more():
                raise Closed(f"{len(self._buffer)} of {size} bytes: {self._buffer[-100:]!r}")
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def read_head(self):
        """Status line and fields of the next response."""
        line = self._line()
        version, status, reason = (line + b"  ").split(b" ", 2)
        lines = []
        while field := self._line():
            lines.append(field)
        return Response(version.decode(), int(status), reason.strip().decode("latin-1"),
                        parse_fields(lines))

    def read_response(self, interim=False):
        """The next final response with its body. A body that is cut raises Closed."""
        while True:
            response = self.read_head()
            if interim or response.status >= 200 or response.status == 101:
                break
        if response.status < 200 or response.status in (204, 304) or self._is_head:
            response.is_complete = True
            return response
        if (response["Transfer-Encoding"] or "").lower() == "chunked":
            parts = []
            while size := int(self._line().split(b";")[0], 16):
                parts.append(self._exactly(size))
                assert self._exactly(2) == b"\r\n", "chunk without CRLF"
            lines = []
            while line := self._line():
                lines.append(line)
            response.body = b"".join(parts)
            response.trailers = parse_fields(lines)
        elif response["Content-Length"] is not None:
            response.body = self._exactly(int(response["Content-Length"]))
        else:
            response.body = self.read_to_end()
        response.is_complete = True
        return response

    def exchange(self, *args, **kwargs):
        """request() and read_response()."""
        self.request(*args, **kwargs)
        return self.read_response()

    def read_to_end(self):
        """All until the server closes."""
        while self._more():
            pass
        data, self._buffer = self._buffer, b""
        return data

    def is_closed_by_server(self):
        """Waits for the end of the connection; False if bytes come instead."""
        if self._buffer:
            return False
        return not self._more()


def tls_context(roots=None, versions=None, alpn=None, ciphers=None):
    """A client's context; without `roots` nothing is verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if roots:
        context.load_verify_locations(cafile=str(roots))
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if versions:
        context.minimum_version, context.maximum_version = versions
    if alpn:
        context.set_alpn_protocols(alpn)
    if ciphers:
        context.set_ciphers(ciphers)
    return context
