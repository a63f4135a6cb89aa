"""Clients that do not take what they asked for, and strangers who fail at the door: what they cost
the others, and what the log says of them."""
import socket
import struct
import threading
import time

import pytest

from harness.http1 import Client
from harness.waiting import wait_until


class Stream:
    """A script: /endless is answered for as long as somebody takes it, all else with "ok"."""

    def __init__(self):
        self.was_cut = threading.Event()

    def __call__(self, connection):
        if connection.read_request().target != "/endless":
            connection.answer(fields=[("Connection", "close")])
            return
        try:
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            for _ in range(10_000):
                connection.send(bytes(100_000))
        except OSError:
            self.was_cut.set()


def read_nothing(front):
    """A client that asks for /endless and leaves it at that."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", front.http))
    client.sendall(b"GET /endless HTTP/1.1\r\nHost: example.test\r\n\r\n")
    return client


def test_a_client_that_takes_nothing_is_cut_and_its_backend_let_go(mdfront, site, backend):
    backend.script = stream = Stream()
    front = mdfront([site(backend)], limits={"response_rate_min": "1MiB"})
    at = time.monotonic()
    with read_nothing(front) as client:
        assert stream.was_cut.wait(150)
        assert time.monotonic() - at > 100  # 10 s, and 100 s in which nothing was taken
        with pytest.raises(ConnectionResetError):  # never an end that looks complete
            while client.recv(1_000_000):
                pass


def test_a_client_that_keeps_the_rate_is_served_to_the_end(mdfront, site, backend):
    """Our kernel takes megabytes at once and then nothing for long: not the client's doing."""
    size = 3_000_000

    def answer(connection):
        connection.read_request()
        connection.answer(body=bytes(size))

    backend.script = answer
    front = mdfront([site(backend)], limits={"response_rate_min": "16KiB"})
    with socket.socket() as client:
        client.connect(("127.0.0.1", front.http))
        client.sendall(b"GET / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n")
        got = 0
        while piece := client.recv(8192):  # 80 KiB/s
            got += len(piece)
            time.sleep(0.1)
    assert got > size


def test_a_client_that_resets_lets_its_backend_go(mdfront, site, backend):
    """Also while nothing is received from it, since it has sent more than its request."""
    let_go = threading.Event()

    def never(connection):
        connection.read_request()
        connection.wait_for_end()
        let_go.set()

    backend.script = never
    front = mdfront([site(backend)])
    with socket.socket() as client:
        client.connect(("127.0.0.1", front.http))
        client.sendall(b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\nG")
        wait_until(lambda: any(one.requests for one in backend.connections), "it arrives")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert let_go.wait(15)


def test_clients_that_take_nothing_do_not_stop_the_others(mdfront, site, backend):
    backend.script = Stream()
    front = mdfront([site(backend)], server={"workers": 1})
    readers = [read_nothing(front) for _ in range(300)]
    for _ in range(50):
        assert front.get().status == 200
    for client in readers:
        client.close()
    assert front.get().status == 200


def test_tl_30_handshakes_that_fail_are_told_of_now_and_then(front):
    for _ in range(200):
        with Client(("127.0.0.1", front.https)) as client:
            client.send(b"GET / HTTP/1.1\r\n\r\n")
            client.read_to_end()
    wait_until(lambda: "handshake failed (not_tls)" in front.log, "the log tells of it")
    lines = [line for line in front.log.splitlines() if "handshake failed" in line]
    assert len(lines) <= 20  # five for each worker, and some more after 10 s
    assert " 127.0.0.1: " in lines[0]


def test_refused_requests_are_told_of_now_and_then(front):
    for _ in range(200):
        with front.connect_plain() as client:
            client.send(b"GET / HTTP/1.1\r\nHost : example.test\r\n\r\n")
            client.read_to_end()
    wait_until(lambda: "request refused with 400" in front.log, "the log tells of it")
    assert len([line for line in front.log.splitlines() if "request refused" in line]) <= 20


@pytest.mark.parametrize("places", [8, 20])
def test_idle_connections_make_place_for_newcomers(mdfront, site, backend, places):
    front = mdfront([site(backend)], server={"workers": 1}, limits={"connections_max": places})
    idle = [front.connect_plain() for _ in range(places)]
    for client in idle:
        assert client.exchange().status == 200
    at = time.monotonic()
    assert front.get().status == 200
    assert time.monotonic() - at < 10  # and not after idle_timeout, a minute
    for client in idle:
        client.close()


def test_those_who_do_not_take_their_last_response_hold_no_place_for_others(mdfront, site, backend):
    """Their connections are over, but stay until they have read: nobody may count on their places.
    The body is one that the front takes whole, and the kernel, before such a reader, does not."""
    def answer(connection):
        connection.read_request()
        connection.answer(body=bytes(126_000), fields=[("Connection", "close")])

    backend.script = answer
    front = mdfront([site(backend)], server={"workers": 1}, limits={"connections_max": 40})
    readers = []
    for _ in range(10):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        reader.connect(("127.0.0.1", front.http))
        reader.sendall(b"GET / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n")
        readers.append(reader)
    wait_until(lambda: len(backend.connections) == 10, "all have asked")
    idle = [front.connect_plain() for _ in range(30)]
    at = time.monotonic()
    with front.connect_plain() as newcomer:
        assert newcomer.exchange().status == 200
    assert time.monotonic() - at < 10  # and not after idle_timeout, a minute
    for client in readers + idle:
        client.close()


def test_a_client_that_half_closes_and_resets_is_seen_to_leave(mdfront, site, backend):
    """After its FIN nothing is received, so that no receive tells of the reset."""
    left = threading.Event()

    def hang(connection):
        connection.read_request()
        connection.wait_for_end()
        left.set()

    backend.script = hang
    front = mdfront([site(backend)])
    client = socket.create_connection(("127.0.0.1", front.http))
    client.sendall(b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n")
    wait_until(lambda: backend.connections, "the request is there")
    client.shutdown(socket.SHUT_WR)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert left.wait(20)  # looked at every 5 s; the request's own deadline is 60 s away


def test_a_server_that_still_takes_an_upload_is_waited_for(mdfront, site, backend):
    """What it has not read yet lies in the kernel, ours and its own, and none of it with us."""
    size = 3_000_000

    def read_slowly(connection):
        connection.read_head()
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        for _ in range(size // 50_000):
            connection.exactly(50_000)
            time.sleep(0.1)  # 500 KB/s: 6 s in all
        connection.answer()

    backend.script = read_slowly
    front = mdfront([site(backend)], limits={"backend_response_timeout": "2s"})
    with front.connect_plain(timeout=30) as client:
        client.request("POST", fields=[("Content-Length", size)])
        client.send(bytes(size))
        assert client.read_response().status == 200
