"""Slow keys (RSA 4096: 5 ms a signature): their handshakes wait for each other, nobody else."""
import json
import selectors
import signal
import socket
import ssl
import threading
import time

import pytest

from harness.http1 import tls_context
from harness.waiting import wait_until

DEPTH = 200  # handshakes at the same time: about a second of signatures
SLOW, FAST = "slow.test", "fast.test"


@pytest.fixture(scope="module")
def files(authority):
    return {SLOW: authority.issue(SLOW, kind="RSA 4096"), FAST: authority.issue(FAST)}


@pytest.fixture
def start(mdfront, site, backend, files):
    """mdfront with one worker, a site with a slow key and one with a fast key."""
    return lambda **options: mdfront([site(backend, hosts=[name], files=files[name])
                                      for name in (SLOW, FAST)], **options)


class StormClient:
    """One TLS connection that is moved on by whoever has bytes for it."""

    def __init__(self, context):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=SLOW)
        self.socket = None
        self.answer = b""
        self.has_asked = False
        self.has_flight = False
        self.is_over = False
        self.advance()  # makes the ClientHello; no time for that later

    def advance(self):
        """Handshake, request, response: as far as the bytes go."""
        try:
            if not self.has_asked:
                self.tls.do_handshake()
                self.tls.write(f"GET / HTTP/1.1\r\nHost: {SLOW}\r\n"
                               "Connection: close\r\n\r\n".encode())
                self.has_asked = True
            while data := self.tls.read(65536):
                self.answer += data
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass

    def send(self):
        if data := self.outgoing.read():
            self.socket.send(data)

    def on_readable(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        self.has_flight |= bool(data)
        self.is_over = not data
        return data


class Storm:
    """Clients that all begin a handshake with the slow site now. `goes_on`: they finish it and have
    one request answered; else they take the server's flight and say nothing."""

    def __init__(self, front, goes_on, count=DEPTH):
        context = tls_context()
        self.clients = [StormClient(context) for _ in range(count)]
        self._goes_on = goes_on
        self._selector = selectors.DefaultSelector()
        self.duration = None
        self._started = time.monotonic()
        for client in self.clients:
            client.socket = socket.create_connection(("127.0.0.1", front.https), 20)
            client.send()
            self._selector.register(client.socket, selectors.EVENT_READ, client)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._may_run = True
        self._thread.start()

    def _run(self):
        done = 0
        while self._may_run and done < len(self.clients):
            for key, _ in self._selector.select(0.1):
                client = key.data
                data = client.on_readable()
                if data and self._goes_on:
                    client.incoming.write(data)
                    client.advance()
                    client.send()
                if client.is_over or not self._goes_on:
                    self._selector.unregister(client.socket)
                    done += 1
        self.duration = time.monotonic() - self._started

    @property
    def flights(self):
        return sum(client.has_flight for client in self.clients)

    def is_over(self):
        return self.duration is not None

    def stop_reading(self):
        self._may_run = False
        self._thread.join()

    def close(self):
        self.stop_reading()
        for client in self.clients:
            client.socket.close()


def counters(front):
    return json.loads(front.get_admin("/status.json").body)["counters"]


@pytest.mark.core
def test_handshakes_with_a_slow_key_do_not_delay_other_sites(start, started):
    front = start()
    times = []
    with front.connect(FAST) as client:
        assert client.exchange(host=FAST).status == 200
        storm = started(Storm(front, goes_on=False))
        while not storm.is_over():
            at = time.monotonic()
            assert client.exchange(host=FAST).status == 200
            times.append(time.monotonic() - at)
    assert storm.flights == DEPTH
    # On the worker one turn signs for all that have come: a request waits for most of the storm.
    assert max(times) < storm.duration / 4, f"{max(times):.3f} of {storm.duration:.3f} s"


@pytest.mark.threads
@pytest.mark.core
def test_every_client_of_a_storm_is_answered(start, started, backend):
    front = start(server={"workers": 2})
    storm = started(Storm(front, goes_on=True))
    wait_until(storm.is_over, "all are answered", 60)
    assert [client.answer[:12] for client in storm.clients] == [b"HTTP/1.1 200"] * DEPTH
    wait_until(lambda: counters(front)["handshakes_full"] == DEPTH, "all are counted")
    assert counters(front)["handshakes_failed"] == 0


@pytest.mark.threads
@pytest.mark.core
def test_clients_that_go_away_in_the_middle_leave_nothing_behind(start, started):
    front = start()
    front.get(host=SLOW)
    front.get(host=FAST)
    wait_until(lambda: counters(front)["connections"] == 0, "the connections are closed")
    files = front.process.open_files()
    storm = started(Storm(front, goes_on=False))
    wait_until(lambda: storm.flights > 3, "some have their flight")
    storm.stop_reading()
    for number, client in enumerate(storm.clients):
        if number % 2:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1]) + bytes(7))
        client.socket.close()
    wait_until(lambda: counters(front)["connections"] == 0, "the connections are closed")
    wait_until(lambda: front.process.open_files() <= files, "the descriptors are closed")
    wait_until(lambda: counters(front)["handshakes_failed"] == DEPTH, "all are counted")
    for host in (SLOW, FAST):
        assert front.get(host=host).status == 200
    wait_until(lambda: counters(front)["handshakes_full"] == 4, "so are those who stayed")


@pytest.mark.threads
@pytest.mark.core
def test_a_handshake_that_waits_too_long_is_closed_at_its_deadline(start, started):
    front = start(limits={"handshake_timeout": "300ms"})
    storm = started(Storm(front, goes_on=True))
    wait_until(storm.is_over, "all are answered or closed")
    answered = sum(client.answer.startswith(b"HTTP/1.1 200") for client in storm.clients)
    assert 0 < answered < DEPTH
    assert front.get(host=SLOW).status == 200


@pytest.mark.core
def test_what_a_client_sends_ahead_waits_for_its_turn(start):
    """Nothing of it is lost, and nothing read before the flight is out."""
    front = start()
    client = StormClient(tls_context(versions=(ssl.TLSVersion.TLSv1_3,) * 2))
    with socket.create_connection(("127.0.0.1", front.https), 20) as client.socket:
        client.send()
        client.socket.send(b"\x14\x03\x03\x00\x01\x01" * 2)  # RFC 8446 5: to be ignored
        while not client.is_over:
            client.incoming.write(client.on_readable())
            client.advance()
            client.send()
    assert client.answer.startswith(b"HTTP/1.1 200")


@pytest.mark.threads
@pytest.mark.core
def test_sigterm_in_a_storm_finishes_what_was_accepted(start, started):
    front = start(server={"drain_timeout": "30s"})
    before = counters(front)["connections_accepted"]
    storm = started(Storm(front, goes_on=True))
    wait_until(lambda: counters(front)["connections_accepted"] == before + DEPTH,
               "all are accepted")
    assert not storm.is_over()
    front.send_signal(signal.SIGTERM)
    assert front.process.wait(30) == 0
    wait_until(storm.is_over, "all are answered")
    assert [client.answer[:12] for client in storm.clients] == [b"HTTP/1.1 200"] * DEPTH


@pytest.mark.threads
@pytest.mark.core
@pytest.mark.parametrize("signals", [1, 2])
def test_sigterm_in_a_storm_ends_in_time(start, started, signals):
    front = start(server={"drain_timeout": "500ms" if signals == 1 else "30s"})
    front.may_end_badly = True
    storm = started(Storm(front, goes_on=False))
    wait_until(lambda: storm.flights > 3, "some have their flight")
    at = time.monotonic()
    for _ in range(signals):
        front.send_signal(signal.SIGTERM)
        front.process.wait_for_log("finishing")
    assert front.process.wait(10) in (0, 3)
    assert time.monotonic() - at < 5
