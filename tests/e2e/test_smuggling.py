"""Bytes on the wire that try to be two things at once (faults.md 2a), over a live connection.
What is decided within one head is in the parser's own table tests."""
import contextlib
import socket
import threading
import time

import pytest

from harness.http1 import Client, Closed
from harness.mdfront import IS_SANITIZED
from harness.waiting import wait_until

MIB = 1024 * 1024
GOOD = b"GET /good HTTP/1.1\r\nHost: example.test\r\n\r\n"


def last_answer(client):
    """All answers until the server closes; gives the last and how many there were."""
    count, answer = 0, None
    while True:
        try:
            answer = client.read_response()
            count += 1
        except Closed:
            return answer, count


REFUSED = {
    "H1-01 length and chunked":
        b"POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "H1-02 two lengths":
        b"POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "H1-05 signed length":
        b"POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: +5\r\n\r\nhallo",
    "H1-09 space before the colon":
        b"POST / HTTP/1.1\r\nHost: example.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "H1-11 unknown coding":
        b"POST / HTTP/1.1\r\nHost: example.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "H1-17 folded line":
        b"GET / HTTP/1.1\r\nHost: example.test\r\nX-A: b\r\n c\r\n\r\n",
    "H1-21 bare LF": b"GET / HTTP/1.1\nHost: example.test\n\n",
    "H1-22 bare CR": b"GET / HTTP/1.1\r\nHost: example.test\r\nX-A: b\rc\r\n\r\n",
    "H1-24 chunked in HTTP/1.0":
        b"POST / HTTP/1.0\r\nHost: example.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "H1-42 CONNECT": b"CONNECT example.test:443 HTTP/1.1\r\nHost: example.test\r\n\r\n",
    "H1-44 no host": b"GET / HTTP/1.1\r\n\r\n",
    "H1-44 two hosts": b"GET / HTTP/1.1\r\nHost: example.test\r\nHost: other.test\r\n\r\n",
    "H1-45 HTTP/0.9": b"GET /\r\n\r\n",
    "H1-45 HTTP/2.0": b"GET / HTTP/2.0\r\nHost: example.test\r\n\r\n",
    "H1-54 HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.core
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_answered_closed_and_never_reaches_a_backend(front, backend, case):
    with front.connect() as client:
        client.send(REFUSED[case])
        answer, count = last_answer(client)
    assert count == 1 and 400 <= answer.status <= 505
    assert answer["Connection"] == "close"
    assert backend.received == b""


@pytest.mark.core
def test_h1_26_bad_chunks_never_become_a_message_at_the_backend(front, backend):
    for chunks in (b"+1\r\nx\r\n0\r\n\r\n", b"0x1\r\nx\r\n0\r\n\r\n", b"1\nx\r\n0\r\n\r\n",
                   b"1\r\nxy\r\n0\r\n\r\n", b"1;a\nb\r\nx\r\n0\r\n\r\n",
                   b"11111111111111111\r\nx\r\n0\r\n\r\n"):
        with front.connect() as client:
            client.request("POST", fields=[("Transfer-Encoding", "chunked")])
            client.send(chunks + GOOD)
            answer, count = last_answer(client)
        assert (count, answer.status) == (1, 400), chunks
    # A head that was valid may have been forwarded, but no body was ever complete, and what
    # followed was never a request.
    assert all(not request.body for request in backend.requests)
    assert b"/good" not in backend.received


def test_h1_36_bodies_on_get_and_options_are_counted_not_left_as_requests(front, backend):
    with front.connect() as client:
        for method in ("GET", "HEAD", "DELETE", "OPTIONS"):
            for framing in (b"Content-Length: 44\r\n\r\n" + GOOD.ljust(44),
                            b"Transfer-Encoding: chunked\r\n\r\n2c\r\n" + GOOD.ljust(44) +
                            b"\r\n0\r\n\r\n"):
                client._is_head = method == "HEAD"
                client.send(method.encode() + b" /outer HTTP/1.1\r\nHost: example.test\r\n" +
                            framing)
                if method == "HEAD":
                    # The scripted backend answers HEAD with a body, which ends its connection.
                    assert client.read_head().status == 200
                else:
                    assert client.read_response().status == 200
    assert [request.target for request in backend.requests] == ["/outer"] * 8


def test_h1_38_an_early_final_answer_to_expect_does_not_leave_the_body_as_a_request(
        front, backend):
    def refuse(connection):
        connection.read_head()
        connection.answer(status="403 Forbidden")
        connection.wait_for_end()

    backend.script = refuse
    with front.connect() as client:
        client.request("POST", fields=[("Expect", "100-continue"),
                                       ("Content-Length", len(GOOD))])
        status = client.read_head().status
        if status == 100:
            status = client.read_response().status
        assert status == 403
        client.send(GOOD)
        _, count = last_answer(client)
    assert count == 0
    assert [request.target for request in backend.requests] == ["/"]


@pytest.mark.parametrize("value", ["y 100-continue", "200-ok", "100-continue, 100-continue"])
def test_h1_39_unknown_expectations_are_refused(front, backend, value):
    with front.connect() as client:
        client.request("POST", fields=[("Expect", value)], body=b"hallo")
        assert client.read_response().status in (400, 417)
    assert backend.received == b""


def test_h1_39_expect_on_get_with_a_length_cannot_hide_a_request(front, backend):
    with front.connect() as client:
        client.send(b"GET /outer HTTP/1.1\r\nHost: example.test\r\nExpect: 100-continue\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (len(GOOD), GOOD))
        assert client.read_response().status in (200, 417)
    assert [request.target for request in backend.requests] in ([], ["/outer"])


def test_h1_40_only_websocket_may_upgrade(front, backend):
    for upgrade in ("h2c", "TLS/1.0", "websocket, h2c", "foo"):
        with front.connect() as client:
            answer = client.exchange(fields=[
                ("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", upgrade),
                ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")])
            assert answer.status in (200, 400)
    for request in backend.requests:
        assert request["Upgrade"] is None
        assert request["HTTP2-Settings"] is None
        assert "upgrade" not in (request["Connection"] or "").lower()


WEBSOCKET = [("Upgrade", "websocket"), ("Connection", "Upgrade"),
             ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")]


@pytest.mark.core
def test_h1_41_an_upgrade_that_was_declined_opens_no_tunnel(front, backend):
    with front.connect() as client:
        client.request(fields=WEBSOCKET)
        client.send(GOOD)  # before any 101
        first = client.read_response()
        assert (first.status, first.body) == (200, b"ok")
        try:
            assert client.read_response().status == 200
        except Closed:
            pass  # giving the connection up is as good
    assert all(request.version == "HTTP/1.1" for request in backend.requests)
    assert b"X-Forwarded-For" in backend.received.split(b"GET /good")[-1]


def test_h1_41_nothing_of_the_client_is_forwarded_before_101(front, backend):
    may_switch = threading.Event()

    def script(connection):
        connection.read_request()
        assert not connection._buffer
        assert may_switch.wait(10)
        connection.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\n\r\n")
        connection.send(connection.exactly(5).upper())
        connection.wait_for_end()

    backend.script = script
    with front.connect() as client:
        client.request(fields=WEBSOCKET)
        client.send(b"early")
        backend.wait_for_requests(1)
        with front.connect() as other:  # a round trip through the same worker
            other.send(b"GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n")
            assert other.read_response().status == 421
        assert b"early" not in backend.received
        may_switch.set()
        assert client.read_response().status == 101
        assert client._exactly(5) == b"EARLY"


@pytest.mark.core
def test_h1_51_after_a_bad_pipelined_request_nothing_more_is_read(front, backend):
    with front.connect() as client:
        client.send(GOOD + b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n" + GOOD)
        assert client.read_response().status == 200
        answer = client.read_response()
        assert (answer.status, answer["Connection"]) == (400, "close")
        assert client.is_closed_by_server()
    assert [request.target for request in backend.requests] == ["/good"]


@pytest.mark.core
def test_h1_52_ten_thousand_pipelined_requests_keep_their_order_in_bounded_memory(
        mdfront, site, raw_backend):
    def script(connection):
        while True:
            request = connection.read_request()
            connection.answer(request.target.encode().ljust(100))

    count = 2_000 if IS_SANITIZED else 10_000
    front = mdfront([site(raw_backend(script))])
    before = front.rss
    # The plain port: an SSL object is not for a writing and a reading thread at once.
    with front.connect_plain(timeout=60) as client:
        def write():
            for number in range(count):
                client.send(b"GET /%d HTTP/1.1\r\nHost: example.test\r\n\r\n" % number)

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        writer.join(1)  # until then nobody reads an answer
        for number in range(count):
            assert client.read_response().body.strip() == b"/%d" % number
        writer.join(10)
    if not IS_SANITIZED:
        assert front.rss - before < 16 * MIB


def test_h1_53_one_empty_line_before_a_request_is_skipped_and_many_are_refused(front, backend):
    with front.connect() as client:
        client.send(b"\r\n" + GOOD)
        assert client.read_response().status == 200
    with front.connect() as client:
        try:
            client.send(b"\r\n" * 10_000)
            last_answer(client)
        except OSError:
            pass
    assert len(backend.requests) == 1
    assert front.get().status == 200


def test_h1_54_tls_on_the_plain_port_and_plain_http_on_the_tls_port_are_closed(front, backend):
    with front.connect_plain() as client:
        client.send(bytes.fromhex("16030100c8010000c40303") + b"\x11" * 193)
        answer, count = last_answer(client)
        assert count <= 1 and (answer is None or answer.status == 400)
    with Client(("127.0.0.1", front.https)) as client:
        client.send(GOOD)
        data = client.read_to_end()
        assert b"200 OK" not in data
    assert backend.received == b""


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("end", ["close_notify", "fin", "reset"])
def test_h1_55_a_body_that_ends_early_is_never_taken_for_whole(front, backend, framing, end):
    with front.connect() as client:
        if framing == "length":
            client.request("POST", fields=[("Content-Length", 10)])
            client.send(b"half")
        else:
            client.request("POST", fields=[("Transfer-Encoding", "chunked")])
            client.send(b"4\r\nhalf\r\n")
        wait_until(lambda: b"half" in backend.received, "half of the body at the backend")
        if end == "close_notify":
            with contextlib.suppress(OSError):  # the server resets rather than answer it
                client.socket.unwrap().close()
        elif end == "fin":
            client.socket.shutdown(socket.SHUT_WR)
        else:
            client.reset()
    wait_until(lambda: backend.connections[0].is_ended, "the backend's connection is closed")
    assert not backend.received.endswith(b"\r\n0\r\n\r\n")
    assert front.get().status == 200
    assert len(backend.connections) == 2


def test_h1_56_an_answer_reaches_a_client_that_has_closed_its_half(front, backend):
    may_answer = threading.Event()

    def script(connection):
        connection.read_request()
        assert may_answer.wait(10)
        connection.answer(b"late")
        connection.wait_for_end()

    backend.script = script
    with front.connect_plain() as client:
        client.request()
        client.socket.shutdown(socket.SHUT_WR)
        backend.wait_for_requests(1)
        front.get_plain(host="unknown.test")  # the worker has seen the FIN by now
        may_answer.set()
        assert client.read_response().body == b"late"


def test_h1_57_a_body_nobody_reads_is_drained_or_the_connection_closed(front, backend):
    with front.connect() as client:  # small: the connection may go on
        client.request("POST", host="unknown.test", body=GOOD)
        assert client.read_response().status == 421
    with front.connect() as client:  # too large to be read in vain: for 30 s at most
        client.request("POST", host="unknown.test", fields=[("Content-Length", 1 << 40)])
        assert client.read_response().status == 421
        at = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() < at + 60:
                client.send(bytes(16384))
                time.sleep(0.02)  # a client that goes on, and leaves the machine to others
        assert 25 < time.monotonic() - at < 50
    assert backend.received == b""


def test_h1_50_one_byte_at_a_time_gives_the_same_answer(front, backend):
    with front.connect() as client:
        for byte in GOOD:
            client.send(bytes([byte]))
        assert client.read_response().status == 200
    bad = GOOD.replace(b"\r\n\r\n", b"\r\nX : y\r\n\r\n")
    with front.connect() as client:
        for byte in bad:
            client.send(bytes([byte]))
        assert client.read_response().status == 400
    assert len(backend.requests) == 1


@pytest.mark.core
def test_h1_62_unknown_challenge_tokens_are_normal_traffic_at_once(front, backend):
    for token in ("unknown", "..%2f..%2fetc%2fpasswd", "../../etc/passwd", "%00", "a/b", ""):
        target = "/.well-known/acme-challenge/" + token
        assert front.get_plain(target).status == 200
    assert len(backend.requests) == 6


def test_h1_61_redirects_and_error_pages_do_not_echo_bytes_of_the_request(mdfront, site, backend):
    front = mdfront([site(backend, require_https="permanent")])
    answer = front.get_plain("/%0d%0aSet-Cookie:%20a=1?<script>alert(1)</script>")
    if answer.status == 301:
        assert answer["Set-Cookie"] is None
        assert b"<script>" not in answer.body
    answer = front.get_plain("/<script>", host="unknown.test")
    assert b"<script>" not in answer.body
