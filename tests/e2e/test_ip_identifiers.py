"""IP addresses as names of managed domains (RFC 8738): issued by a real CA, chosen without SNI."""
import json
import ssl
import subprocess

from cryptography import x509
import pytest

from harness.http1 import Client, tls_context
from harness.waiting import wait_until

ADDRESSES = ("127.0.0.1", "127.0.0.2", "::1")


def managed(backend, *hosts, **keys):
    return {"hosts": list(hosts), "backend": backend.address, "managed": True, **keys}


def in_url(address):
    return f"[{address}]" if ":" in address else address


def get(front, address, target="/", host=None, roots=None, sni=None):
    """One GET over TLS at `address`, by default without SNI: with an address ssl sends none."""
    with Client((address, front.https), tls=sni or address, roots=roots) as client:
        return client.exchange(target=target, host=host or in_url(address))


def is_verified(front, ca, address, sni=None):
    try:
        host = sni or in_url(address)
        return get(front, address, host=host, roots=ca.root, sni=sni).status == 200
    except (ssl.SSLError, OSError):
        return False


def wait_for_certificate(front, ca, *addresses):
    for address in addresses:
        wait_until(lambda: is_verified(front, ca, address),
                   f"a certificate for {address}; log:\n{front.log}", 30, every=0.05)


def shown_certificate(front, address, sni=None):
    """What a client that verifies nothing is shown."""
    with Client((address, front.https), tls=sni or address, context=tls_context()) as client:
        return x509.load_der_x509_certificate(client.socket.getpeercert(binary_form=True))


def alternative_names(certificate):
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (sorted(map(str, names.get_values_for_type(x509.IPAddress))),
            sorted(names.get_values_for_type(x509.DNSName)))


@pytest.mark.core
@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_addresses_are_certified_by_one_challenge_type_alone(acme, backend, challenge):
    ca, front = acme([managed(backend, "127.0.0.1", "127.0.0.2", "[0:0:0:0:0:0:0:1]")],
                     md={"ca_challenges": [challenge]},
                     addresses=("127.0.0.1", "127.0.0.2", "[::1]"))
    wait_for_certificate(front, ca, *ADDRESSES)
    certificate = shown_certificate(front, "::1")
    assert alternative_names(certificate) == (sorted(ADDRESSES), [])
    for address in ADDRESSES:
        front.process.wait_for_log(f"{challenge} is set up for {address}")
    assert front.status("127.0.0.1")["domains"] == list(ADDRESSES)
    assert all("acme-challenge" not in request.target for request in backend.requests)


@pytest.mark.core
def test_curl_verifies_an_address(acme, backend):
    ca, front = acme([managed(backend, "::1", "127.0.0.1")], addresses=("[::]",))
    wait_for_certificate(front, ca, "127.0.0.1")
    for address in ("127.0.0.1", "::1"):
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--noproxy", "*", "--cacert", str(ca.root),
             "--write-out", " %{http_code} %{ssl_verify_result}",
             f"https://{in_url(address)}:{front.https}/"],
            capture_output=True, text=True, timeout=20)
        assert done.stdout.endswith(" 200 0"), (done, front.log)


@pytest.mark.core
def test_without_sni_the_address_that_was_connected_to_chooses(acme, raw_backend, site):
    """On listeners that are bound to all addresses; IPv4 comes as IPv4-mapped IPv6 there."""
    from harness.raw_backend import answer_ok

    backends = {name: raw_backend(answer_ok) for name in ("four", "six", "default")}
    ca, front = acme([managed(backends["four"], "127.0.0.2"),
                      managed(backends["six"], "::1", "six.test"),
                      site(backends["default"], default=True)], addresses=("[::]",))
    wait_for_certificate(front, ca, "127.0.0.2", "::1")
    assert alternative_names(shown_certificate(front, "127.0.0.2")) == (["127.0.0.2"], [])
    assert alternative_names(shown_certificate(front, "::1")) == (["::1"], ["six.test"])
    # No name, and an address without a certificate: the default site's.
    assert "example.test" in alternative_names(shown_certificate(front, "127.0.0.1"))[1]
    # A name counts for more than the address.
    assert "example.test" in alternative_names(shown_certificate(front, "::1", "example.test"))[1]
    assert is_verified(front, ca, "127.0.0.1", sni="six.test")
    before = [len(backend.requests) for backend in backends.values()]
    assert get(front, "127.0.0.2").status == 200
    assert get(front, "::1", host="[0:0::1]:443").status == 200
    assert get(front, "::1", host="SIX.test").status == 200  # the same site
    assert get(front, "127.0.0.1", host="127.0.0.1").status == 200  # the default site
    after = [len(backend.requests) for backend in backends.values()]
    assert [now - then for then, now in zip(before, after)] == [1, 2, 1]


@pytest.mark.core
def test_an_address_of_another_site_is_misdirected(acme, backend):
    ca, front = acme([managed(backend, "127.0.0.1"), managed(backend, "127.0.0.2"),
                      managed(backend, "::1")], addresses=("[::]",))
    wait_for_certificate(front, ca, *ADDRESSES)
    before = len(backend.requests)
    for address, host in (("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "[::1]"), ("::1", "127.0.0.1"),
                          ("::1", "[::2]"), ("127.0.0.1", "[::ffff:127.0.0.1]")):
        assert get(front, address, host=host).status == 421, (address, host)
    for host in ("[::1", "[::1]]", "[127.0.0.1]", "[::1%251]", "::1", "[::1]:x"):
        assert get(front, "::1", host=host).status == 400, host
    assert len(backend.requests) == before


def test_behind_a_translated_address_the_default_site_serves_it(acme, backend):
    """Clients connect to 127.0.0.1, and what they mean is another address: as behind NAT."""
    ca, front = acme([managed(backend, "127.0.0.2", default=True)], addresses=("[::]",))
    wait_for_certificate(front, ca, "127.0.0.2")
    shown = shown_certificate(front, "127.0.0.1")
    assert alternative_names(shown) == (["127.0.0.2"], [])
    assert get(front, "127.0.0.1", host="127.0.0.2").status == 200


@pytest.mark.core
def test_before_there_is_a_certificate_the_fallback_is_for_the_address(acme, backend):
    _, front = acme([managed(backend, "::1", "127.0.0.1", "one.test")], pebble={"start": False},
                    addresses=("[::]",))
    shown = shown_certificate(front, "::1")
    assert alternative_names(shown) == (["127.0.0.1", "::1"], ["one.test"])
    assert get(front, "::1").status == 503
    assert get(front, "127.0.0.1").status == 503
    assert backend.received == b""


@pytest.mark.core
def test_redirects_and_the_status_of_the_certificate(acme, backend):
    ca, front = acme([managed(backend, "::1", "127.0.0.1")], md={"require_https": "temporary"},
                     addresses=("[::]",))
    wait_for_certificate(front, ca, "127.0.0.1")
    for address, host in (("127.0.0.1", "127.0.0.1"), ("::1", f"[0::1]:{front.http}")):
        with Client((address, front.http)) as client:
            answer = client.exchange(target="/a?b", host=host)
        assert answer.status == 302
        # Port 443 is mapped to ours (port_map): that is where it leads.
        assert answer["Location"] == f"https://{in_url(address)}/a?b"
        status = json.loads(get(front, address, "/.httpd/certificate-status").body)
        serial = int(status["P-256"]["serial"], 16)
        assert serial == shown_certificate(front, address).serial_number


def test_addresses_outlive_a_kill_in_the_store(acme, backend):
    ca, front = acme([managed(backend, "::1", "127.0.0.1")], addresses=("[::]",))
    wait_for_certificate(front, ca, "::1")
    serial = shown_certificate(front, "::1").serial_number
    assert json.loads((front.store / "domains" / "::1" / "md.json").read_text())["domains"] == [
        "::1", "127.0.0.1"]
    orders = ca.count("order-plz")
    front.kill()
    front.start()
    assert is_verified(front, ca, "127.0.0.1")
    assert shown_certificate(front, "::1").serial_number == serial
    assert ca.count("order-plz") == orders
    assert front.status("::1")["state"] == 2


def test_a_ticket_is_good_for_its_own_address_only(acme, backend):
    ca, front = acme([managed(backend, *ADDRESSES)], addresses=("[::]",))
    wait_for_certificate(front, ca, *ADDRESSES)
    context = tls_context(ca.root, versions=(ssl.TLSVersion.TLSv1_2,) * 2)

    def connect(address, session):
        with Client((address, front.https), tls=address, context=context,
                    session=session) as client:
            assert client.exchange(host=in_url(address)).status == 200
            return client.socket.session, client.socket.session_reused

    session, _ = connect("127.0.0.1", None)
    assert connect("127.0.0.1", session)[1]
    assert not connect("::1", session)[1]
    assert not connect("127.0.0.2", session)[1]


