"""Backends that refuse, stall, break off and talk too much (faults.md 2g). After each fault the
next request is served."""
import socket
import threading
import time

import pytest

from harness.http1 import Closed
from harness.ports import free_port
from harness.raw_backend import answer_ok
from harness.waiting import wait_until


def then_ok(*scripts):
    """The first connections run `scripts`, later ones answer."""

    def script(connection):
        (scripts[connection.number] if connection.number < len(scripts) else answer_ok)(connection)

    return script


@pytest.mark.core
def test_be_01_a_refusing_backend_gives_502_at_once(mdfront, site):
    front = mdfront([site(f"127.0.0.1:{free_port()}")])
    at = time.monotonic()
    with front.connect() as client:
        assert client.exchange().status == 502
        assert client.exchange().status == 502  # and the connection is still good
    assert time.monotonic() - at < 2


def test_be_01_the_next_server_is_asked_when_one_refuses(mdfront, site, backend):
    front = mdfront([site("pair")], backends=[
        {"name": "pair", "servers": [f"127.0.0.1:{free_port()}", backend.address]}])
    for _ in range(10):
        assert front.get().status == 200


def test_be_02_a_backend_that_does_not_accept_gives_504_at_the_connect_limit(mdfront, site):
    with socket.socket() as full:  # its backlog is taken up: connecting hangs
        port = free_port()
        full.bind(("127.0.0.1", port))
        full.listen(0)
        held = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            held.append(one)
        front = mdfront([site(f"127.0.0.1:{port}")], limits={"backend_connect_timeout": "300ms"})
        at = time.monotonic()
        assert front.get().status == 504
        assert 0.2 < time.monotonic() - at < 3
        for one in held:
            one.close()


@pytest.mark.core
def test_be_03_a_reset_before_any_answer_on_a_new_connection_gives_502(front, backend):
    backend.script = then_ok(lambda connection: (connection.read_request(), connection.reset()))
    with front.connect() as client:
        assert client.exchange("POST", body=b"once").status == 502
        assert client.exchange().status == 200
    assert [request.method for request in backend.requests] == ["POST", "GET"]


@pytest.mark.core
@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
def test_be_04_an_answer_that_breaks_off_is_cut_and_never_ends_cleanly(
        front, backend, how, framing):
    def script(connection):
        connection.read_request()
        body = "half" if "Length" in framing else "4\r\nhalf\r\n"
        connection.send(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}")
        if how == "fin":
            connection.close()
        else:
            # A reset would overtake data that the front has not read yet.
            may_reset.wait(10)
            connection.reset()

    may_reset = threading.Event()
    backend.script = then_ok(script)
    with front.connect() as client:
        client.request()
        client._buffer += client.socket.recv(1)
        may_reset.set()
        with pytest.raises(Closed):
            client.read_response()
    assert front.get().status == 200


@pytest.mark.parametrize("head", ["", "HTTP/1.1 200 OK\r\nContent-"])
def test_be_04_an_end_in_the_head_gives_502(front, backend, head):
    def script(connection):
        connection.read_request()
        connection.send(head)
        connection.close()

    backend.script = then_ok(script)
    with front.connect() as client:
        assert client.exchange("POST", body=b"x").status == 502
        assert client.exchange().status == 200


@pytest.mark.core
def test_be_05_a_silent_backend_gives_504_and_a_pause_in_the_body_cuts(mdfront, site, raw_backend):
    def silent(connection):
        connection.read_request()
        connection.wait_for_end()

    def pausing(connection):
        connection.read_request()
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        connection.wait_for_end()

    backend = raw_backend(then_ok(silent, pausing))
    front = mdfront([site(backend)], limits={"backend_response_timeout": "300ms",
                                             "body_timeout": "300ms"})
    assert front.get().status == 504
    with pytest.raises(Closed):
        front.get()
    assert front.get().status == 200
    wait_until(lambda: all(one.is_ended for one in backend.connections[:2]),
               "both stuck connections are closed")


def test_be_05_a_slow_backend_does_not_delay_another(mdfront, site, raw_backend):
    slow = raw_backend(lambda connection: connection.wait_for_end())
    fast = raw_backend()
    front = mdfront([site(slow), site(fast, hosts=["a.wild.test"])])
    stuck = [front.connect() for _ in range(20)]
    for client in stuck:
        client.request()
    at = time.monotonic()
    for _ in range(20):
        assert front.get(host="a.wild.test").status == 200
    assert time.monotonic() - at < 3
    for client in stuck:
        client.close()


@pytest.mark.core
def test_be_06_an_answer_before_the_body_was_read_is_delivered_and_the_connection_not_reused(
        front, backend):
    def script(connection):
        connection.read_head()
        connection.answer(b"early")
        connection.wait_for_end()

    backend.script = then_ok(script)
    with front.connect() as client:
        client.request("POST", fields=[("Content-Length", 100_000)])
        answer = client.read_response()
        assert (answer.status, answer.body) == (200, b"early")
        try:
            client.send(bytes(100_000))
            assert client.exchange().status == 200
        except (Closed, OSError):
            pass  # closing is allowed too
    assert front.get().status == 200
    wait_until(lambda: backend.connections[0].is_ended, "the connection is given up")
    assert len(backend.connections[0].requests) == 1


def test_be_07_a_refusal_while_the_body_is_being_sent_is_read_and_delivered(front, backend):
    def script(connection):
        connection.read_head()
        connection.answer(b"too large", status="413 Content Too Large",
                          fields=[("Connection", "close")])
        connection.socket.shutdown(socket.SHUT_WR)
        connection.wait_for_end()

    backend.script = then_ok(script)
    with front.connect() as client:
        client.request("POST", fields=[("Content-Length", 50_000_000)])
        try:
            for _ in range(50):
                client.send(bytes(1_000_000))
        except OSError:
            pass
        answer = client.read_response()
        assert (answer.status, answer.body) == (413, b"too large")
    assert front.get().status == 200


def test_be_08_at_most_sixteen_interim_answers_are_relayed(front, backend):
    def many(connection):
        connection.read_request()
        connection.send("HTTP/1.1 103 Early Hints\r\n\r\n" * 10_000)
        connection.wait_for_end()

    backend.script = then_ok(many)
    with front.connect() as client:
        client.request()
        interims = 0
        try:
            while True:
                status = client.read_response(interim=True).status
                if status != 103:
                    assert status == 502
                    break
                interims += 1
        except Closed:
            pass
        assert interims <= 16
    assert front.get().status == 200


def test_be_08_an_unasked_101_gives_502(front, backend):
    def switch(connection):
        connection.read_request()
        connection.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\n\r\n")
        connection.wait_for_end()

    backend.script = then_ok(switch)
    assert front.get().status == 502
    assert front.get().status == 200


BAD_ANSWERS = {
    "BE-09 no status line": "hello\r\n\r\n",
    "BE-09 HTTP/2.0": "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "BE-09 status 99": "HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n",
    "BE-09 status 1000": "HTTP/1.1 1000 High\r\nContent-Length: 0\r\n\r\n",
    "BE-10 two lengths": "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "BE-10 length and chunked":
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "BE-10 folded": "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "BE-10 bare LF": "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "BE-10 bare CR": "HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: c\r\nContent-Length: 0\r\n\r\n",
    "BE-10 NUL": "HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 0\r\n\r\n",
    "BE-11 too large": "HTTP/1.1 200 OK\r\nX-A: " + "a" * 1_000_000 + "\r\n\r\n",
    "BE-11 too many": "HTTP/1.1 200 OK\r\n" + "Set-Cookie: a=b\r\n" * 5000 + "\r\n",
}


@pytest.mark.core
@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_answers_that_are_no_http_give_502(front, backend, case):
    def bad(connection):
        connection.read_request()
        connection.send(BAD_ANSWERS[case])
        connection.wait_for_end()

    backend.script = then_ok(bad)
    with front.connect() as client:
        answer = client.exchange()
        assert answer.status == 502
        assert answer["Set-Cookie"] is None and answer["X-A"] is None
        assert client.exchange().status == 200


@pytest.mark.core
@pytest.mark.parametrize("method,answer,body", [
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    ("GET", "HTTP/1.1 204 No Content\r\n\r\n", b""),
    ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", b""),
    ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"")])
def test_be_12_14_bytes_behind_an_answer_are_never_given_to_the_next_request(
        front, backend, method, answer, body):
    poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"

    def script(connection):
        connection.read_request()
        connection.send(answer + poison)
        connection.wait_for_end()

    backend.script = then_ok(script)
    with front.connect() as client:
        assert client.exchange(method).body == body
        for _ in range(3):
            assert client.exchange("GET").body == b"ok"
    assert len(backend.connections[0].requests) == 1


def test_be_12_16_bytes_that_come_on_an_idle_connection_close_it(front, backend):
    may_send = threading.Event()

    def script(connection):
        connection.read_request()
        connection.answer()
        assert may_send.wait(10)
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        connection.wait_for_end()

    backend.script = then_ok(script)
    with front.connect() as client:
        assert client.exchange().body == b"ok"
        may_send.set()
        wait_until(lambda: backend.connections[0].is_ended, "the poisoned connection is closed")
        assert client.exchange().body == b"ok"
    assert len(backend.connections) == 2


def test_be_13_chunked_without_a_last_chunk_is_cut(front, backend):
    def script(connection):
        connection.read_request()
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        connection.close()

    backend.script = then_ok(script)
    with pytest.raises(Closed):
        front.get()
    assert front.get().status == 200


@pytest.mark.core
def test_be_15_a_get_is_replayed_when_a_kept_connection_turns_out_to_be_closed(front, backend):
    def one_then_reset(connection):
        connection.read_request()
        connection.answer()
        connection.read_request()
        connection.reset()

    backend.script = then_ok(one_then_reset)
    with front.connect() as client:
        for _ in range(3):
            assert client.exchange().status == 200
    assert [len(one.requests) for one in backend.connections] == [2, 2]


@pytest.mark.parametrize("body", [b"once", b""])
def test_be_15_a_post_that_was_sent_whole_is_not_replayed(front, backend, body):
    def one_then_reset(connection):
        connection.read_request()
        connection.answer()
        connection.read_request()
        connection.reset()

    backend.script = then_ok(one_then_reset)
    with front.connect() as client:
        assert client.exchange().status == 200
        assert client.exchange("POST", body=body).status == 502
        assert client.exchange().status == 200
    assert [request.method for request in backend.requests] == ["GET", "POST", "GET"]


def test_be_15_an_httpd_that_closes_idle_connections_costs_no_request(mdfront, site, apache):
    front = mdfront([site(apache(keep_alive_requests=3))])
    with front.connect() as client:
        for _ in range(50):
            assert client.exchange().status == 200


@pytest.mark.core
def test_be_17_connection_close_of_the_backend_is_not_the_clients(front, backend):
    def script(connection):
        connection.read_request()
        connection.answer(fields=[("Connection", "close")])
        connection.close()

    backend.script = script
    with front.connect() as client:
        for _ in range(3):
            assert client.exchange().status == 200
    assert len(backend.connections) == 3


@pytest.mark.core
@pytest.mark.parametrize("when", ["before the answer", "in the answer", "in the upload"])
def test_be_25_a_backend_request_ends_within_a_second_when_its_client_is_gone(
        front, backend, when):
    def script(connection):
        connection.read_head()
        if when == "in the answer":
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            while True:
                connection.send(bytes(65536))
        connection.wait_for_end()

    backend.script = script
    client = front.connect()
    client.request("POST" if when == "in the upload" else "GET",
                   fields=[("Content-Length", 1_000_000)] if when == "in the upload" else [])
    backend.wait_for_requests(1)
    client.reset()
    wait_until(lambda: backend.connections[0].is_ended, "the backend's connection is closed", 1)


def test_be_22_a_backend_that_comes_back_is_used_at_once(mdfront, site, raw_backend):
    first = raw_backend()
    front = mdfront([site(first)])
    assert front.get().status == 200
    first.close()
    assert front.get().status == 502
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", first.port))
        listener.listen()

        def serve():
            sock, _ = listener.accept()
            sock.recv(65536)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback")
            sock.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert front.get().body == b"back"
        thread.join(5)
