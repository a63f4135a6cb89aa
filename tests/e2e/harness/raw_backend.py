"""A scriptable backend for what Apache cannot be made to show: resets in the middle of a body,
silence, answers before the request is read, and the exact bytes that a backend receives."""
import socket
import threading

from .http1 import parse_fields
from .ports import free_port
from .waiting import wait_until


class Request:
    def __init__(self, line, fields):
        self.method, self.target, self.version = line.decode("latin-1").split(" ")
        self.fields = fields
        self.body = b""
        self.trailers = []

    def __getitem__(self, name):
        values = self.all(name)
        return values[0] if values else None

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def __repr__(self):
        return f"<{self.method} {self.target} {self.fields}>"


class EndOfStream(Exception):
    """The proxy closed its connection to the backend."""


class BackendConnection:
    """One connection from the proxy, as a script sees it."""

    def __init__(self, number, sock):
        self.number = number  # counted from 0
        self.socket = sock
        self.received = bytearray()  # everything that ever came
        self.requests = []
        self.is_ended = False  # the proxy closed or reset
        self._buffer = b""

    def _more(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.is_ended = True
            raise EndOfStream
        self.received += data
        self._buffer += data

    def _line(self):
        while b"\r\n" not in self._buffer:
            self._more()
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        return line

    def exactly(self, size):
        while len(self._buffer) < size:
            self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def read_head(self):
        line = self._line()
        lines = []
        while field := self._line():
            lines.append(field)
        request = Request(line, parse_fields(lines))
        self.requests.append(request)
        return request

    def read_request(self):
        """The next request with its body."""
        request = self.read_head()
        if (request["Transfer-Encoding"] or "") == "chunked":
            while size := int(self._line().split(b";")[0], 16):
                request.body += self.exactly(size)
                assert self.exactly(2) == b"\r\n"
            lines = []
            while line := self._line():
                lines.append(line)
            request.trailers = parse_fields(lines)
        elif request["Content-Length"]:
            request.body = self.exactly(int(request["Content-Length"]))
        return request

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def answer(self, body=b"ok", status="200 OK", fields=()):
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in fields]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)

    def close(self):
        """FIN, in order behind what was sent."""
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                               b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.socket.close()

    def wait_for_end(self):
        """Until the proxy closes; what it still sends is kept in `received`."""
        try:
            while True:
                self._more()
        except EndOfStream:
            pass


def answer_ok(connection):
    """The default script: every request is answered with 200 and "ok"."""
    while True:
        connection.read_request()
        connection.answer()


class RawBackend:
    """Listens on a port (or a unix socket) and runs `script(connection)` in a thread for each
    connection; the script may be exchanged at any time."""

    def __init__(self, script=answer_ok, unix=None, backlog=128):
        self.script = script
        self.connections = []
        self.errors = []
        self.unix = unix
        if unix:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(unix))
            self.address = f"unix:{unix}"
        else:
            self.port = free_port()
            self._listener = socket.socket()
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(("127.0.0.1", self.port))
            self.address = f"127.0.0.1:{self.port}"
        self._listener.listen(backlog)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            connection = BackendConnection(len(self.connections), sock)
            self.connections.append(connection)
            thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, connection):
        try:
            self.script(connection)
        except (EndOfStream, BrokenPipeError, ConnectionResetError):
            connection.is_ended = True
        except OSError as error:
            if error.errno != 9:  # closed by close() below
                self.errors.append(error)
        except Exception as error:  # shown by close(): a failing script is a failing test
            self.errors.append(error)

    @property
    def requests(self):
        """All requests so far, by connection."""
        return [request for connection in self.connections for request in connection.requests]

    @property
    def received(self):
        """All bytes so far."""
        return b"".join(bytes(connection.received) for connection in self.connections)

    def wait_for_requests(self, count, timeout=10.0):
        wait_until(lambda: len(self.requests) >= count, f"{count} requests at the backend", timeout)
        return self.requests

    def stop_listening(self):
        """New connections are refused from here on."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def close(self):
        try:
            self.stop_listening()
        except OSError:
            pass
        for connection in self.connections:
            try:
                connection.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.socket.close()
        for thread in self._threads:
            thread.join(5)
        assert not self.errors, f"the backend's script failed: {self.errors}"
