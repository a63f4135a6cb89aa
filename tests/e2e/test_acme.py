"""Certificates from a real ACME CA (Pebble): issued, served, kept, renewed."""
import datetime
import json
import ssl

from cryptography import x509
import pytest

from harness.http1 import Client, tls_context
from harness.waiting import wait_until


def managed(backend, *hosts, **keys):
    return {"hosts": list(hosts), "backend": backend.address, "managed": True, **keys}


def shown_certificate(front, name):
    """What a client that verifies nothing is shown."""
    with Client(("127.0.0.1", front.https), tls=name, context=tls_context()) as client:
        return x509.load_der_x509_certificate(client.socket.getpeercert(binary_form=True))


def is_verified(front, ca, name):
    """Whether a client that trusts the CA gets 200 over HTTPS."""
    try:
        return front.get(host=name, roots=ca.root).status == 200
    except (ssl.SSLError, OSError):
        return False


def wait_for_certificate(front, ca, *names, timeout=30):
    for name in names:
        wait_until(lambda: is_verified(front, ca, name),
                   f"a certificate for {name}; log:\n{front.log}", timeout, every=0.05)


def alternative_names(certificate):
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return sorted(extension.value.get_values_for_type(x509.DNSName))


@pytest.mark.core
@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_a_certificate_is_issued_by_one_challenge_type_alone(acme, backend, challenge):
    ca, front = acme([managed(backend, "one.test")], md={"ca_challenges": [challenge]})
    wait_for_certificate(front, ca, "one.test")
    front.process.wait_for_log(f"{challenge} is set up for one.test")
    assert backend.requests and all(
        "acme-challenge" not in request.target for request in backend.requests)


@pytest.mark.core
def test_a_certificate_covers_all_names_of_its_domain(acme, backend):
    ca, front = acme([managed(backend, "one.test", "two.test", "three.test")])
    wait_for_certificate(front, ca, "one.test", "two.test", "three.test")
    assert alternative_names(shown_certificate(front, "two.test")) == [
        "one.test", "three.test", "two.test"]
    assert ca.orders() == 1


def test_several_keys_make_several_certificates_and_clients_get_theirs(acme, backend):
    ca, front = acme([managed(backend, "one.test")],
                     md={"private_keys": ["P-256", "RSA 2048"]})
    wait_for_certificate(front, ca, "one.test")
    kinds = set()
    for ciphers in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"):
        context = tls_context(ca.root, versions=(ssl.TLSVersion.TLSv1_2,) * 2, ciphers=ciphers)
        with Client(("127.0.0.1", front.https), tls="one.test", context=context) as client:
            kinds.add(client.socket.cipher()[0])
    assert len(kinds) == 2


def test_an_md_domain_section_with_keys_of_its_own(acme, backend):
    ca, front = acme(
        [{"hosts": ["one.test"], "backend": backend.address}],
        domains=[{"names": ["one.test"], "private_keys": "P-384",
                  "ca_challenges": ["tls-alpn-01"]}])
    wait_for_certificate(front, ca, "one.test")
    assert shown_certificate(front, "one.test").public_key().curve.name == "secp384r1"


@pytest.mark.core
def test_one_nonce_in_five_refused_does_not_matter(acme, backend):
    ca, front = acme([managed(backend, "one.test", "two.test")], pebble={"bad_nonces": 20})
    wait_for_certificate(front, ca, "one.test")


@pytest.mark.long
def test_fifty_domains_get_their_certificates_at_once(acme, backend):
    names = [f"site{number}.test" for number in range(50)]
    ca, front = acme([managed(backend, name) for name in names])
    wait_for_certificate(front, ca, *names, timeout=120)
    assert ca.count("sign-me-up") <= 2  # one account (a bad nonce asks twice)
    assert len({shown_certificate(front, name).serial_number for name in names}) == 50


@pytest.mark.core
def test_before_there_is_a_certificate_a_fallback_is_shown_and_requests_get_503(acme, backend):
    _, front = acme([managed(backend, "one.test", require_https="off")], pebble={"start": False})
    answer = front.get(host="one.test")
    assert answer.status == 503
    assert front.get("/.well-known/acme-challenge/x", host="one.test").status == 503
    assert alternative_names(shown_certificate(front, "one.test")) == ["one.test"]
    assert backend.received == b""
    assert front.get_plain(host="one.test").status == 200  # plain HTTP is not affected


@pytest.mark.core
def test_a_ca_that_is_down_at_start_is_tried_again(acme, backend):
    ca, front = acme([managed(backend, "one.test")], pebble={"start": False})
    wait_until(lambda: front.status("one.test").get("renewal", {}).get("errors", 0) >= 1,
               "the first attempt fails")
    job = front.status("one.test")["renewal"]
    assert job["last"]["status"] != 0 and job["last"].get("detail")
    ca.start()
    wait_for_certificate(front, ca, "one.test")
    assert front.status("one.test").get("renewal", {}).get("errors", 0) == 0


@pytest.mark.core
def test_a_new_certificate_is_seen_by_new_connections_while_an_old_one_goes_on(acme, backend):
    ca, front = acme([managed(backend, "one.test")], pebble={"start": False})
    old = front.connect("one.test")
    fallback = old.socket.getpeercert(binary_form=True)
    assert old.exchange(host="one.test").status == 503
    pid = front.process.pid
    ca.start()
    wait_for_certificate(front, ca, "one.test")
    assert front.process.pid == pid and front.process.is_running()
    assert old.exchange(host="one.test").status in (200, 503)  # still the old connection
    with front.connect("one.test", roots=ca.root) as new:
        assert new.socket.getpeercert(binary_form=True) != fallback
    old.close()


@pytest.mark.core
def test_after_kill_the_same_certificate_is_served_and_nothing_ordered(acme, backend):
    ca, front = acme([managed(backend, "one.test", "two.test")])
    wait_for_certificate(front, ca, "one.test")
    serial = shown_certificate(front, "one.test").serial_number
    orders, accounts = ca.count("order-plz"), ca.count("sign-me-up")
    for _ in range(3):
        front.kill()
        front.start()
        assert is_verified(front, ca, "one.test")
        assert shown_certificate(front, "two.test").serial_number == serial
    state = front.status("one.test")
    assert state["state"] == 2 and "renewal" not in state
    assert (ca.count("order-plz"), ca.count("sign-me-up")) == (orders, accounts)


@pytest.mark.long
def test_a_kill_at_any_moment_of_an_order_leaves_a_store_that_leads_to_a_certificate(
        acme, backend):
    ca, front = acme([managed(backend, "one.test")], start=True)
    for part in ("GET /dir", "POST /sign-me-up", "POST /order-plz", "POST /authZ",
                 "POST /chalZ", "POST /finalize-order", "POST /certZ"):
        seen = ca.log.count(part)
        wait_until(lambda: ca.log.count(part) > seen or is_verified(front, ca, "one.test"),
                   f"{part} at the CA", 30, every=0.002)
        front.kill()
        front.start()
    wait_for_certificate(front, ca, "one.test", timeout=60)


def test_the_store_is_mod_mds(acme, backend):
    ca, front = acme([managed(backend, "one.test", "two.test")])
    wait_for_certificate(front, ca, "one.test")
    domain = json.loads((front.store / "domains/one.test/md.json").read_text())
    assert (domain["name"], domain["domains"]) == ("one.test", ["one.test", "two.test"])
    stored = x509.load_pem_x509_certificate(
        next((front.store / "domains/one.test").glob("pubcert*.pem")).read_bytes())
    assert stored.serial_number == shown_certificate(front, "one.test").serial_number
    key = next((front.store / "domains/one.test").glob("privkey*.pem"))
    assert key.stat().st_mode & 0o077 == 0
    assert len(list((front.store / "accounts").iterdir())) == 1
    assert not (front.store / "staging/one.test").exists() or not list(
        (front.store / "staging/one.test").glob("*.pem"))


@pytest.mark.core
def test_md_status_has_mod_mds_shape(acme, backend):
    ca, front = acme([managed(backend, "b.test"), managed(backend, "a.test", "www.a.test")])
    wait_for_certificate(front, ca, "a.test", "b.test")
    listed = front.status()
    assert listed["version"]
    assert [domain["name"] for domain in listed["managed-domains"]] == ["a.test", "b.test"]
    one = front.status("a.test")
    assert one["domains"] == ["a.test", "www.a.test"]
    assert one["contacts"] == ["mailto:ops@example.test"]
    assert one["ca"]["urls"] == [ca.directory] and one["ca"]["proto"] == "ACME"
    assert (one["state"], one["renew-mode"], one["renew-window"]) == (2, 1, "33%")
    assert one["watched"] is True and "renew" not in one
    shown = shown_certificate(front, "a.test")
    certificate = one["cert"]["P-256"]
    assert int(certificate["serial"], 16) == shown.serial_number
    assert set(certificate["valid"]) == {"from", "until"} and set(one["cert"]["valid"]) == {
        "from", "until"}
    parsed = datetime.datetime.strptime(certificate["valid"]["until"], "%a, %d %b %Y %H:%M:%S GMT")
    assert parsed == shown.not_valid_after
    assert len(certificate["sha256-fingerprint"]) == 64
    assert front.status("www.a.test")["name"] == "a.test"


@pytest.mark.core
def test_certificate_status_has_mod_mds_shape_on_both_schemes(acme, backend):
    ca, front = acme([managed(backend, "one.test", require_https="permanent")])
    wait_for_certificate(front, ca, "one.test")
    for answer in (front.get("/.httpd/certificate-status", host="one.test"),
                   front.get_plain("/.httpd/certificate-status", host="one.test")):
        assert (answer.status, answer["Content-Type"]) == (200, "application/json")
        status = json.loads(answer.body)
        assert set(status) == {"valid", "P-256"}
        assert set(status["P-256"]) == {"valid", "serial", "sha256-fingerprint"}
        assert int(status["P-256"]["serial"], 16) == shown_certificate(
            front, "one.test").serial_number


def test_certificate_status_is_there_before_the_certificate(acme, backend):
    _, front = acme([managed(backend, "one.test")], pebble={"start": False})
    answer = front.get_plain("/.httpd/certificate-status", host="one.test")
    assert answer.status == 200
    assert "valid" not in json.loads(answer.body)


def test_a_refused_name_is_told_and_does_not_harm_another_domain(acme, backend):
    ca, front = acme([managed(backend, "blocked.test"), managed(backend, "good.test")],
                     pebble={"blocked": ["blocked.test"]})
    wait_for_certificate(front, ca, "good.test")
    job = wait_until(lambda: front.status("blocked.test").get("renewal"), "a job")
    wait_until(lambda: front.status("blocked.test")["renewal"].get("errors", 0) >= 1, "an error")
    job = front.status("blocked.test")["renewal"]
    assert "rejectedIdentifier" in json.dumps(job["last"])
    assert front.get(host="blocked.test").status == 503


def test_a_name_that_does_not_lead_here_fails_with_the_cas_words(acme, backend, challtestsrv):
    ca, front = acme([managed(backend, "one.test")], md={"ca_challenges": ["http-01"],
                                                         "port_map": ["80:1", "443:-"]},
                     start=False)
    # The CA looks at a port where nobody is: as if the name led elsewhere.
    front.document["md"]["port_map"] = [f"80:{front.http}", "443:-"]
    front.document["listen"][1]["address"] = "127.0.0.2:" + str(front.http)
    front.write_config()
    front.start()
    wait_until(lambda: front.status("one.test").get("renewal", {}).get("errors", 0) >= 1,
               "an error", 30)
    last = front.status("one.test")["renewal"]["last"]
    assert last["detail"]
    assert front.get(host="one.test").status == 503


@pytest.mark.long
def test_certificates_are_renewed_in_their_window_and_swapped_in(acme, backend):
    ca, front = acme([managed(backend, "one.test")], pebble={"lifetime": 20},
                     md={"renew_window": "50%", "check_interval": "1s"})
    wait_for_certificate(front, ca, "one.test")
    serials = {shown_certificate(front, "one.test").serial_number}

    def has_seen(count):
        serials.add(shown_certificate(front, "one.test").serial_number)
        return len(serials) >= count

    wait_until(lambda: has_seen(3), "two renewals", 60, every=0.2)
    assert is_verified(front, ca, "one.test")
    assert front.process.is_running()


def test_manual_domains_are_left_alone(acme, backend):
    ca, front = acme([managed(backend, "one.test"), managed(backend, "other.test")],
                     md={"renew_mode": "manual"})
    wait_until(lambda: front.status("one.test"), "a status")
    assert front.get(host="one.test").status == 503
    assert ca.count("order-plz") == 0


def test_a_static_site_beside_managed_ones(acme, backend, site, authority):
    ca, front = acme([managed(backend, "one.test"), site(backend)])
    assert front.get(roots=authority.root).status == 200  # at once, whatever the CA does
    wait_for_certificate(front, ca, "one.test")
