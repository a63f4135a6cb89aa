"""TLS as clients see it: versions, certificate choice, names, resumption, and stalled peers."""
import re
import select
import socket
import ssl
import subprocess
import time

import pytest

from harness.http1 import Client, tls_context
from harness.mdfront import IS_SANITIZED
from harness.waiting import wait_until

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def handshake(front, name="example.test", **options):
    """A connection whose handshake is done; raises ssl.SSLError with the alert otherwise."""
    return Client(("127.0.0.1", front.https), tls=name, context=tls_context(**options))


def s_client(front, *arguments, name="example.test", text=""):
    """openssl s_client's output."""
    sni = ["-servername", name] if name else ["-noservername"]
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{front.https}", *sni, *arguments],
        input=text, capture_output=True, text=True, timeout=20)
    return done.stdout + done.stderr


@pytest.mark.core
@pytest.mark.parametrize("version,shown", [(V12, "TLSv1.2"), (V13, "TLSv1.3")])
def test_tls_12_and_13_are_spoken_and_verified(front, authority, version, shown):
    with handshake(front, roots=authority.root, versions=(version, version)) as client:
        assert client.socket.version() == shown
        assert client.exchange().status == 200
        assert "AES128GCM" in client.socket.cipher()[0].replace("_", "").replace("-", "")


def test_the_modern_policy_refuses_tls_12(mdfront, site, backend):
    front = mdfront([site(backend)], more={"tls": {"policy": "modern"}})
    with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
        handshake(front, versions=(V12, V12))
    assert handshake(front).socket.version() == "TLSv1.3"


@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
def test_older_versions_are_refused(front, option):
    output = s_client(front, option, "-cipher", "ALL:@SECLEVEL=0")
    assert "Cipher is (NONE)" in output


@pytest.mark.parametrize("ciphers", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA",
                                     "DHE-RSA-AES128-GCM-SHA256"])
def test_tls_12_without_forward_secrecy_or_aead_is_refused(front, ciphers):
    assert "Cipher is (NONE)" in s_client(front, "-tls1_2", "-cipher", ciphers + ":@SECLEVEL=0")


@pytest.mark.core
def test_ecdsa_is_chosen_if_the_client_can_verify_it_else_rsa(
        mdfront, site, backend, authority, certificate):
    rsa = authority.issue("example.test", kind="RSA 2048")
    front = mdfront([site(backend, files=[rsa, certificate])])
    assert "ECDSA" in s_client(front, "-tls1_2").split("Peer signature type:")[1][:10].upper()
    for arguments in (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
                      ["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256:RSA+SHA256"]):
        assert "RSA" in s_client(front, *arguments).split("Peer signature type:")[1][:10].upper()


@pytest.mark.core
@pytest.mark.parametrize("name", ["EXAMPLE.test", "www.example.test"])
def test_the_case_of_the_name_does_not_matter(front, authority, name):
    output = s_client(front, "-CAfile", str(authority.root), name=name)
    assert "Verify return code: 0 (ok)" in output


def test_wildcard_certificates_cover_one_label(mdfront, site, backend, authority):
    front = mdfront([site(backend, hosts=["*.wild.test"])])
    with front.connect("a.wild.test", roots=authority.root) as client:
        assert client.exchange(host="a.wild.test").status == 200
    for name in ("a.b.wild.test", "wild.test"):
        with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
            handshake(front, name)


@pytest.mark.core
@pytest.mark.parametrize("name", [None, "unknown.test"])
def test_no_tenants_certificate_is_shown_for_no_or_an_unknown_name(front, name):
    output = s_client(front, name=name)
    assert "unrecognized name" in output and "BEGIN CERTIFICATE" not in output


@pytest.mark.parametrize("name", [None, "unknown.test"])
def test_the_default_sites_certificate_is_shown_if_there_is_one(mdfront, site, backend, name):
    front = mdfront([site(backend, default=True)])
    assert "BEGIN CERTIFICATE" in s_client(front, name=name)


@pytest.mark.parametrize("name", ["..", "*", "a" * 64 + ".test", "exa_mple.test", "127.0.0.1",
                                  "../../etc/passwd", "xn--bcher-kva.test", "a\x1b[31m.test"])
def test_odd_names_are_refused_and_never_raw_in_the_log(front, name):
    output = s_client(front, name=name)
    assert "BEGIN CERTIFICATE" not in output
    assert "\x1b" not in front.log
    assert front.get().status == 200


@pytest.mark.core
def test_http11_is_the_protocol_with_and_without_alpn(front):
    with handshake(front, alpn=["http/1.1"]) as client:
        assert client.socket.selected_alpn_protocol() == "http/1.1"
        assert client.exchange().status == 200
    with handshake(front) as client:
        assert client.socket.selected_alpn_protocol() is None
        assert client.exchange().status == 200
    with handshake(front, alpn=["h2", "http/1.1"]) as client:
        protocol = client.socket.selected_alpn_protocol()
        assert protocol == "http/1.1"
        assert client.exchange().status == 200


def test_a_client_of_http_10_alone_is_served(front):
    with handshake(front, alpn=["http/1.0"]) as client:
        assert client.socket.selected_alpn_protocol() == "http/1.0"
        assert client.exchange().status == 200
    with handshake(front, alpn=["http/1.0", "http/1.1"]) as client:
        assert client.socket.selected_alpn_protocol() == "http/1.1"
    done = subprocess.run(
        ["curl", "--silent", "--insecure", "--http1.0", "--output", "/dev/null",
         "--write-out", "%{http_code}", "--connect-to", f"::127.0.0.1:{front.https}",
         "https://example.test/"],
        capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (0, "200")


def test_protocols_that_are_not_spoken_are_refused(front):
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        handshake(front, alpn=["imap"])


@pytest.mark.core
@pytest.mark.parametrize("protocols", [["acme-tls/1"], ["acme-tls/1", "http/1.1"]])
@pytest.mark.parametrize("name", ["example.test", "unknown.test", None])
def test_acme_tls_1_without_a_challenge_gets_an_alert_and_no_certificate(front, protocols, name):
    output = s_client(front, "-alpn", ",".join(protocols), name=name)
    assert "BEGIN CERTIFICATE" not in output
    assert "alert" in output


@pytest.mark.core
@pytest.mark.parametrize("version", [V12, V13])
def test_sessions_are_resumed(mdfront, site, backend, version):
    front = mdfront([site(backend)], server={"workers": 2})
    context = tls_context(versions=(version, version))
    address = ("127.0.0.1", front.https)
    with Client(address, tls="example.test", context=context) as client:
        assert not client.socket.session_reused
        assert client.exchange().status == 200  # TLS 1.3 sends the ticket with it
        session = client.socket.session
    for _ in range(8):  # whichever worker accepts
        with Client(address, tls="example.test", context=context, session=session) as client:
            assert client.socket.session_reused
            assert client.exchange().status == 200


def test_each_resumed_connection_of_tls_13_brings_the_ticket_for_the_next(mdfront, site, backend):
    front = mdfront([site(backend)], server={"workers": 2})
    context = tls_context(versions=(V13, V13))
    used = []
    for number in range(10):
        with Client(("127.0.0.1", front.https), tls="example.test", context=context,
                    session=used[-1] if used else None) as client:
            assert client.socket.session_reused == (number > 0)
            assert client.exchange().status == 200
            session = client.socket.session
        assert session.has_ticket and session not in used
        used.append(session)


def test_a_garbage_ticket_leads_to_a_full_handshake(front, folder):
    session = folder / "session.pem"
    s_client(front, "-tls1_2", "-sess_out", str(session))
    other = folder / "other.pem"
    der = subprocess.run(["openssl", "sess_id", "-in", session, "-outform", "DER"],
                         capture_output=True, check=True).stdout
    at = len(der) // 2
    broken = folder / "broken.der"
    broken.write_bytes(der[:at] + bytes([der[at] ^ 1]) + der[at + 1:])
    done = subprocess.run(["openssl", "sess_id", "-inform", "DER", "-in", broken, "-out", other],
                          capture_output=True)
    if done.returncode == 0:
        output = s_client(front, "-tls1_2", "-sess_in", str(other))
        assert re.search(r"^(New|Reused), TLS", output, re.MULTILINE)
    assert front.get().status == 200


def test_a_ticket_of_one_site_does_not_open_another(mdfront, site, backend, authority):
    front = mdfront([site(backend), site(backend, hosts=["other.test"],
                                         files=authority.issue("other.test"))])
    context = tls_context()
    address = ("127.0.0.1", front.https)
    with Client(address, tls="example.test", context=context) as client:
        client.exchange()
        session = client.socket.session
    with Client(address, tls="other.test", context=context, session=session) as client:
        assert client.exchange(host="other.test").status == 200
        assert client.exchange(host="example.test").status == 421
    assert len(backend.requests) == 2


def test_renegotiation_is_refused(front):
    output = s_client(front, "-tls1_2", text="R\n")
    assert "no renegotiation" in output.lower() or "ssl handshake failure" in output.lower()
    assert front.get().status == 200


def test_a_hello_in_one_byte_segments_completes(front):
    """tldr.fail: a hello is not one read."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = tls_context().wrap_bio(incoming, outgoing, server_hostname="example.test")
    with socket.create_connection(("127.0.0.1", front.https), 10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                for byte in outgoing.read():
                    sock.sendall(bytes([byte]))
                incoming.write(sock.recv(65536))
        tls.write(b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n")
        sock.sendall(outgoing.read())
        answer = b""
        while b"\r\n\r\n" not in answer:
            incoming.write(sock.recv(65536))
            try:
                answer += tls.read(65536)
            except ssl.SSLWantReadError:
                pass
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_large_hello_completes(front):
    protocols = ["http/1.1"] + [f"x-{number:03}" + "x" * 100 for number in range(100)]
    with handshake(front, alpn=protocols) as client:
        assert client.exchange().status == 200


@pytest.mark.core
@pytest.mark.parametrize("what", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"\x16"])
def test_a_stalled_handshake_is_closed_at_its_deadline(mdfront, site, backend, what):
    front = mdfront([site(backend)], limits={"handshake_timeout": "400ms"})
    at = time.monotonic()
    with Client(("127.0.0.1", front.https)) as client:
        client.send(what)
        client.read_to_end()
    assert 0.3 < time.monotonic() - at < 3


@pytest.mark.core
def test_a_stalled_head_is_closed_at_its_deadline_and_an_idle_connection_later(
        mdfront, site, backend):
    front = mdfront([site(backend)], limits={"head_timeout": "400ms", "idle_timeout": "800ms"})
    at = time.monotonic()
    with front.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: exam")
        data = client.read_to_end()
    assert data == b"" or b" 408 " in data
    assert 0.3 < time.monotonic() - at < 3
    at = time.monotonic()
    with front.connect() as client:
        assert client.exchange().status == 200
        assert client.is_closed_by_server()
    assert 0.7 < time.monotonic() - at < 4


@pytest.mark.parametrize("what", [
    b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-OpenSSH_9\r\n", bytes(4096),
    b"\x80\x2e\x01\x03\x01" + bytes(60),
    b"\x16\x03\x00\xff\xff" + bytes(100), b"\x17\x03\x03\x00\x10" + bytes(16)])
def test_what_is_not_tls_is_closed_at_once(front, what):
    with Client(("127.0.0.1", front.https)) as client:
        client.send(what)
        client.read_to_end()
    assert front.get().status == 200


@pytest.mark.core
def test_a_reset_at_any_point_leaves_the_server_well(front):
    for cut in (0, 1, 5, 50, 200):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = tls_context().wrap_bio(incoming, outgoing, server_hostname="example.test")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        client = Client(("127.0.0.1", front.https))
        client.send(outgoing.read()[:cut])
        client.reset()
    for _ in range(20):
        client = front.connect()
        client.request()
        client.reset()
    assert front.get().status == 200


def test_a_thousand_idle_connections_stay_open_and_cost_little(mdfront, site, backend):
    count = 200 if IS_SANITIZED else 1000
    front = mdfront([site(backend)])
    front.get()
    before = front.rss
    context = tls_context()
    clients = []
    for _ in range(count):
        client = Client(("127.0.0.1", front.https), tls="example.test", context=context)
        assert client.exchange().status == 200
        clients.append(client)
    if not IS_SANITIZED:
        assert (front.rss - before) / count < 40 * 1024
    for client in clients[::50]:
        assert client.exchange().status == 200
    assert not any(select.select([client.socket], [], [], 0)[0] for client in clients[1::50])
    files = front.process.open_files()
    for client in clients:
        client.close()
    wait_until(lambda: front.process.open_files() <= files - count, "all descriptors are closed")


def test_close_notify_ends_the_last_answer(front):
    with front.connect() as client:
        client.request(fields=[("Connection", "close")])
        assert client.read_response().status == 200
        # An unclean end would raise SSLEOFError here.
        assert client.socket.recv(1) == b""
