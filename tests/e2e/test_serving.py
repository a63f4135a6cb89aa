"""Ordinary requests with a static certificate, before Apache and before a scripted backend."""
import hashlib
import os
import re
import socket
import threading

import pytest

from harness.http1 import Client, tls_context
from harness.mdfront import IS_SANITIZED
from harness.ports import free_port
from harness.waiting import wait_until

MIB = 1024 * 1024
BULK = 1024 * MIB if os.environ.get("MDFRONT_BULK") else 256 * MIB
RSS_MAX = 64 * MIB


@pytest.mark.threads
@pytest.mark.core
def test_get_head_and_post_reach_apache(mdfront, site, apache, authority):
    httpd = apache()
    front = mdfront([site(httpd)])
    with front.connect(roots=authority.root) as client:
        got = client.exchange()
        assert (got.status, got.body) == (200, b"<p>It is served.</p>\n")
        head = client.exchange("HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head["Content-Length"] == got["Content-Length"]
        assert client.exchange(target="/absent").status == 404
        posted = client.exchange("POST", "/reflect", body=b"x" * 100_000)
        assert posted.body == b"x" * 100_000


@pytest.mark.core
def test_kept_connections_are_used_again_on_both_sides(front, backend):
    with front.connect() as client:
        for _ in range(20):
            assert client.exchange().status == 200
    assert len(backend.requests) == 20
    assert len(backend.connections) == 1


def test_connection_close_is_honoured(front):
    with front.connect() as client:
        answer = client.exchange(fields=[("Connection", "close")])
        assert (answer.status, answer["Connection"]) == (200, "close")
        assert client.is_closed_by_server()


def test_http10_is_answered_with_a_length_or_by_closing(front, backend):
    with front.connect() as client:
        answer = client.exchange(version="1.0")
        assert (answer.status, answer.body) == (200, b"ok")
        assert client.is_closed_by_server()
    with front.connect() as client:
        for _ in range(2):
            answer = client.exchange(version="1.0", fields=[("Connection", "keep-alive")])
            assert (answer.status, answer["Connection"]) == (200, "keep-alive")

    def chunked(connection):
        connection.read_request()
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        connection.wait_for_end()

    backend.script = chunked
    for connection in backend.connections:
        connection.close()
    with front.connect() as client:
        answer = client.exchange(version="1.0")
        assert answer["Transfer-Encoding"] is None
        assert answer.body == b"hi"


@pytest.mark.core
def test_chunked_bodies_pass_both_ways(mdfront, site, apache):
    front = mdfront([site(apache())])
    for sizes in ([1] * 50, [17, 16384, 3], [70_000, 1]):
        data = b"".join(bytes([65 + i % 26]) * size for i, size in enumerate(sizes))
        with front.connect() as client:
            client.request("POST", "/reflect", fields=[("Transfer-Encoding", "chunked")])
            at = 0
            for size in sizes:
                client.send(b"%x\r\n%b\r\n" % (size, data[at:at + size]))
                at += size
            client.send(b"0\r\n\r\n")
            answer = client.read_response()
            assert (answer.status, answer.body) == (200, data)


def test_chunks_are_made_anew_and_extensions_and_trailers_dropped(front, backend):
    def script(connection):
        connection.read_request()
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                        "3;ext=1\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
        connection.wait_for_end()

    backend.script = script
    with front.connect() as client:
        client.request("POST", fields=[("Transfer-Encoding", "chunked"), ("Trailer", "X-In")])
        client.send(b"2;secret=x\r\nhi\r\n0\r\nX-In: 1\r\n\r\n")
        answer = client.read_response()
    assert (answer.body, answer.trailers, answer["Trailer"]) == (b"abc", [], None)
    request = backend.requests[0]
    assert (request.body, request.trailers, request["Trailer"]) == (b"hi", [], None)
    assert b"secret" not in backend.received


def _digest_of_zeros(size):
    digest = hashlib.sha256()
    for _ in range(size // MIB):
        digest.update(bytes(MIB))
    return digest.hexdigest()


@pytest.mark.long
def test_a_large_download_to_a_slow_client_stays_in_bounded_memory(mdfront, site, apache):
    httpd = apache()
    with open(httpd.files / "large", "wb") as file:
        file.truncate(BULK)
    os.chmod(httpd.files / "large", 0o644)
    front = mdfront([site(httpd)])
    with front.connect(timeout=60) as client:
        client.request(target="/large")
        # Nobody reads until the front has stopped taking: the buffers between are full.
        before = -1
        stalled = 0

        def is_stalled():
            nonlocal before, stalled
            now = _bytes_in_flight(front.https)
            stalled = stalled + 1 if now == before and now > 0 else 0
            before = now
            return stalled > 20

        wait_until(is_stalled, "the download stalls", timeout=30)
        answer = client.read_head()
        digest = hashlib.sha256(client._buffer)
        size = len(client._buffer)
        while size < BULK:
            data = client.socket.recv(MIB)
            assert data, f"the body ended after {size} bytes"
            digest.update(data)
            size += len(data)
        assert answer["Content-Length"] == str(BULK)
        assert digest.hexdigest() == _digest_of_zeros(BULK)
    if not IS_SANITIZED:
        assert front.rss_peak < RSS_MAX


def _bytes_in_flight(port):
    """Bytes in the send queues of connections of a local port."""
    total = 0
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in file.readlines()[1:]:
            parts = line.split()
            if int(parts[1].split(":")[1], 16) == port:
                total += int(parts[4].split(":")[0], 16)
    return total


@pytest.mark.long
def test_a_large_upload_to_a_slow_backend_stays_in_bounded_memory(mdfront, site, raw_backend):
    digest = hashlib.sha256()
    may_read = threading.Event()
    done = threading.Event()

    def script(connection):
        connection.read_head()
        may_read.wait(60)
        size = len(connection._buffer)
        digest.update(connection._buffer)
        while size < BULK:
            data = connection.socket.recv(MIB)
            assert data, f"the body ended after {size} bytes"
            digest.update(data)
            size += len(data)
        connection.answer()
        done.set()

    backend = raw_backend(script)
    front = mdfront([site(backend)], limits={"body_timeout": "60s"})
    with front.connect(timeout=60) as client:
        client.request("PUT", fields=[("Content-Length", BULK)])
        client.socket.settimeout(2)
        sent = 0
        try:  # until back-pressure reaches us
            while sent < BULK:
                sent += client.socket.send(bytes(min(MIB, BULK - sent)))
        except TimeoutError:
            pass
        assert sent < BULK, "the front took all of it though the backend read nothing"
        may_read.set()
        client.socket.settimeout(60)
        while sent < BULK:
            sent += client.socket.send(bytes(min(MIB, BULK - sent)))
        assert client.read_response().status == 200
    assert done.wait(10)
    assert digest.hexdigest() == _digest_of_zeros(BULK)
    if not IS_SANITIZED:
        assert front.rss_peak < RSS_MAX


@pytest.mark.core
def test_bodies_of_every_size_around_a_record_arrive_whole(mdfront, site, apache):
    front = mdfront([site(apache())])
    for size in (0, 1, 1023, 1024, 16383, 16384, 16385, 32768, 65536, 100_001, 3 * MIB):
        data = os.urandom(size)
        # httpd reflects while it reads: after such an answer the connection is closed.
        with front.connect() as client:
            answer = client.exchange("POST", "/reflect", body=data)
        assert answer.status == 200
        assert hashlib.sha256(answer.body).digest() == hashlib.sha256(data).digest()


def test_a_body_until_close_of_the_backend_arrives_whole(front, backend):
    def script(connection):
        connection.read_request()
        connection.send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + "y" * 100_000)
        connection.close()

    backend.script = script
    with front.connect() as client:
        for _ in range(2):
            answer = client.exchange()
            assert (answer.status, answer.body) == (200, b"y" * 100_000)
    assert len(backend.connections) == 2


def test_expect_100_continue_is_answered_before_the_body(front, backend):
    with front.connect() as client:
        client.request("POST", fields=[("Expect", "100-continue"), ("Content-Length", "5")])
        assert client.read_head().status == 100
        client.send(b"hallo")
        assert client.read_response().status == 200
    assert backend.requests[0].body == b"hallo"
    assert backend.requests[0]["Expect"] is None


def test_interim_responses_are_relayed_but_a_backends_100_is_not(front, backend):
    def script(connection):
        connection.read_request()
        connection.send("HTTP/1.1 100 Continue\r\n\r\n"
                        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        connection.answer()
        connection.wait_for_end()

    backend.script = script
    with front.connect() as client:
        client.request()
        interim = client.read_response(interim=True)
        assert (interim.status, interim["Link"]) == (103, "</a.css>")
        assert client.read_response(interim=True).status == 200


@pytest.mark.core
def test_websocket_tunnels_bytes_both_ways_after_101(front, backend):
    def script(connection):
        request = connection.read_request()
        assert request["Upgrade"].lower() == "websocket"
        assert "upgrade" in request["Connection"].lower()
        connection.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\n\r\nserver first,")
        while True:
            connection.send(connection.exactly(5).upper())

    backend.script = script
    with front.connect() as client:
        client.request(fields=[("Upgrade", "websocket"), ("Connection", "Upgrade"),
                               ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
                               ("Sec-WebSocket-Version", "13")])
        answer = client.read_response()
        assert (answer.status, answer["Upgrade"].lower()) == (101, "websocket")
        assert client._exactly(13) == b"server first,"
        for word in (b"hallo", b"\x00\xff\r\n\x81", b"again"):
            client.send(word)
            assert client._exactly(5) == word.upper()
    wait_until(lambda: backend.connections[0].is_ended, "the backend's side of the tunnel ends")


def test_the_end_of_the_backend_ends_the_tunnel(front, backend):
    def script(connection):
        connection.read_request()
        connection.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\n\r\nlast words")
        connection.close()

    backend.script = script
    with front.connect() as client:
        client.request(fields=[("Upgrade", "websocket"), ("Connection", "Upgrade"),
                               ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
                               ("Sec-WebSocket-Version", "13")])
        assert client.read_response().status == 101
        assert client.read_to_end() == b"last words"


@pytest.mark.core
def test_the_backend_learns_of_the_client_by_our_fields_alone(front, backend):
    with front.connect() as client:
        client.exchange(target="/a?b=c", fields=[
            ("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "gopher"),
            ("X-Forwarded-Host", "evil.test"), ("X-Forwarded-Server", "evil"),
            ("X-Real-IP", "6.6.6.6"), ("Forwarded", "for=6.6.6.6"), ("Proxy", "http://evil"),
            ("Connection", "X-Mine, Host, X-Forwarded-For"), ("X-Mine", "1"),
            ("Keep-Alive", "timeout=9"), ("TE", "trailers"), ("Under_score", "1"),
            ("X.Forwarded.For", "6.6.6.6"), ("X!Forwarded!For", "6.6.6.6"),
            ("X-Other", "kept"), ("Accept", "*/*")])
    request = backend.requests[0]
    assert (request.method, request.target, request.version) == ("GET", "/a?b=c", "HTTP/1.1")
    assert request.all("Host") == ["example.test"]
    assert request.all("X-Forwarded-For") == ["127.0.0.1"]
    assert request.all("X-Forwarded-Proto") == ["https"]
    assert request.all("X-Forwarded-Host") == ["example.test"]
    assert request.all("X-Forwarded-Port") == [str(front.https)]
    assert request["Via"].endswith("mdfront")
    assert request.all("Connection") == ["keep-alive"]
    assert (request["X-Other"], request["Accept"]) == ("kept", "*/*")
    for name in ("X-Forwarded-Server", "X-Real-IP", "Forwarded", "Proxy", "X-Mine", "Keep-Alive",
                 "TE", "Under_score", "X.Forwarded.For", "X!Forwarded!For"):
        assert request[name] is None, name


def test_unusual_field_names_are_passed_on_where_they_are_allowed(mdfront, site, backend):
    front = mdfront([site(backend)], limits={"allow_unusual_field_names": True})
    with front.connect() as client:
        client.exchange(fields=[("Under_score", "1"), ("X.Mine", "2"), ("X_Forwarded_For", "6"),
                                ("X.Forwarded!Proto", "gopher"), ("Content_Length", "5")])
    request = backend.requests[0]
    assert (request["Under_score"], request["X.Mine"]) == ("1", "2")
    for name in ("X_Forwarded_For", "X.Forwarded!Proto", "Content_Length"):
        assert request[name] is None, name


def test_plain_http_requests_say_so_to_the_backend(front, backend):
    assert front.get_plain().status == 200
    request = backend.requests[0]
    assert request["X-Forwarded-Proto"] == "http"
    assert request["X-Forwarded-Port"] == str(front.http)


def test_the_client_gets_end_to_end_fields_in_order_and_no_others(front, backend):
    def script(connection):
        connection.read_request()
        connection.answer(fields=[("Set-Cookie", "a=1"), ("X-Hop", "1"), ("Set-Cookie", "b=2"),
                                  ("Connection", "X-Hop"), ("Keep-Alive", "timeout=5"),
                                  ("Server", "Apache")])
        connection.wait_for_end()

    backend.script = script
    answer = front.get()
    assert answer.all("Set-Cookie") == ["a=1", "b=2"]
    assert answer["Server"] == "Apache"
    assert answer["Via"].endswith("mdfront")
    assert answer["Date"]
    assert answer["X-Hop"] is None and answer["Keep-Alive"] is None


@pytest.mark.core
def test_each_request_is_one_line_of_the_access_log(front):
    with front.connect() as client:
        client.exchange(target="/one?x=1", fields=[("Referer", "http://from.test/"),
                                                   ("User-Agent", 'a"b\\c')])
        client.exchange("POST", "/two", body=b"abc")
        client.exchange(host="unknown.test")
    lines = wait_until(lambda: len(front.access_log) >= 3 and front.access_log, "three lines")
    assert re.fullmatch(
        r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /one\?x=1 HTTP/1\.1" '
        r'200 2 "http://from\.test/" "a\\(x22|")b\\(x5c|\\)c"', lines[0]), lines[0]
    assert '"POST /two HTTP/1.1" 200 2 "-" "-"' in lines[1]
    assert '" 421 ' in lines[2]


def test_a_backend_on_a_unix_socket_is_reached(mdfront, site, raw_backend, folder):
    backend = raw_backend(unix=folder / "backend.sock")
    front = mdfront([site(backend)])
    assert front.get().body == b"ok"
    assert backend.requests[0]["Host"] == "example.test"


@pytest.mark.parametrize("mode,method,status", [
    ("temporary", "GET", 302), ("temporary", "POST", 307),
    ("permanent", "GET", 301), ("permanent", "HEAD", 301), ("permanent", "POST", 308)])
def test_require_https_redirects_plain_http(mdfront, site, backend, mode, method, status):
    front = mdfront([site(backend, require_https=mode)])
    with front.connect_plain() as client:
        answer = client.exchange(method, "/path%20x?query=%0d%0a",
                                 body=b"x" if method == "POST" else None)
    assert answer.status == status
    # Port 443 arrives at ours (md.port_map): the redirect names none.
    assert answer["Location"] == "https://example.test/path%20x?query=%0d%0a"
    assert backend.received == b""


def test_redirects_name_the_port_that_clients_use(mdfront, site, backend):
    port, public = free_port(), free_port()
    front = mdfront([site(backend, require_https="temporary")], https=port, more={"listen": [
        {"address": f"127.0.0.1:{port}", "protocol": "https", "public_port": public},
        {"address": f"127.0.0.1:{(plain := free_port())}", "protocol": "http"}]}, http=plain)
    assert front.get_plain("/x")["Location"] == f"https://example.test:{public}/x"


def test_permanent_https_sends_hsts_over_tls_only(mdfront, site, backend):
    front = mdfront([site(backend, require_https="permanent")])
    assert front.get()["Strict-Transport-Security"] == "max-age=15768000"
    assert front.get_plain()["Strict-Transport-Security"] is None


def test_well_known_paths_are_not_redirected(mdfront, site, backend):
    front = mdfront([site(backend, require_https="permanent")])
    assert front.get_plain("/.well-known/security.txt").status == 200
    assert front.get_plain("/.well-known/acme-challenge/unknown").status == 200  # the backend's
    assert len(backend.requests) == 2


@pytest.mark.core
def test_requests_for_another_tenant_get_421_and_no_backend(mdfront, site, raw_backend, authority):
    ours, theirs = raw_backend(), raw_backend()
    front = mdfront([site(ours), site(theirs, hosts=["other.test"],
                                      files=authority.issue("other.test"))])
    with front.connect("example.test") as client:
        assert client.exchange(host="other.test").status == 421
        assert client.exchange(host="unknown.test").status == 421
        assert client.exchange(host="www.example.test").status == 200
        assert client.exchange(host="EXAMPLE.test.").status == 200
        assert client.exchange(host=f"example.test:{front.https}").status == 200
    assert len(ours.requests) == 3
    assert theirs.received == b""


def test_plain_requests_for_unknown_hosts_get_404_unless_a_site_is_the_default(
        mdfront, site, backend):
    front = mdfront([site(backend)])
    assert front.get_plain(host="unknown.test").status == 404
    front = mdfront([site(backend, default=True)])
    assert front.get_plain(host="unknown.test").status == 200


def test_sites_are_told_apart_and_wildcards_stand_for_one_label(mdfront, site, raw_backend):
    one, two = raw_backend(), raw_backend()
    front = mdfront([site(one), site(two, hosts=["*.wild.test"])])
    assert front.get(host="a.wild.test").status == 200
    assert front.get(host="example.test").status == 200
    assert front.get_plain(host="a.b.wild.test").status == 404
    assert (len(one.requests), len(two.requests)) == (1, 1)


def test_requests_are_spread_over_the_servers_of_a_backend(mdfront, site, raw_backend):
    servers = [raw_backend(), raw_backend()]
    front = mdfront([site("pair")],
                    backends=[{"name": "pair", "servers": [one.address for one in servers]}])
    clients = [front.connect() for _ in range(8)]
    for client in clients:
        client.request()
    for client in clients:
        assert client.read_response().status == 200
        client.close()
    assert all(one.requests for one in servers)


def test_request_bodies_above_the_limit_get_413(mdfront, site, backend):
    front = mdfront([site(backend)], limits={"request_body_max": "1KiB"})
    with front.connect() as client:
        assert client.exchange("POST", body=b"x" * 1024).status == 200
        client.request("POST", fields=[("Content-Length", 1025)])
        assert client.read_response().status == 413
    with front.connect() as client:
        client.request("POST", fields=[("Transfer-Encoding", "chunked")])
        client.send(b"401\r\n" + b"x" * 1025 + b"\r\n0\r\n\r\n")
        assert client.read_response().status == 413


@pytest.mark.threads
def test_all_workers_serve(mdfront, site, backend):
    front = mdfront([site(backend)], server={"workers": 3})
    for _ in range(30):
        assert front.get().status == 200


@pytest.mark.threads
@pytest.mark.core
def test_many_requests_at_once_get_each_its_own_answer(mdfront, site, raw_backend):
    def script(connection):
        while True:
            request = connection.read_request()
            connection.answer(request.target.encode() * 50)

    front = mdfront([site(raw_backend(script))])
    clients = [front.connect() for _ in range(40)]
    for turn in range(5):
        for number, client in enumerate(clients):
            client.request(target=f"/{turn}/{number}")
        for number, client in reversed(list(enumerate(clients))):
            assert client.read_response().body == f"/{turn}/{number}".encode() * 50
    for client in clients:
        client.close()


def test_a_connection_over_ipv6_and_its_address_is_known(mdfront, site, backend):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    port = free_port()
    front = mdfront([site(backend)], more={
        "listen": [{"address": f"[::1]:{port}", "protocol": "https"}]})
    with Client(("::1", port), tls="example.test", context=tls_context()) as client:
        assert client.exchange().status == 200
    assert backend.requests[0]["X-Forwarded-For"] == "::1"
