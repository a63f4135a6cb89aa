"""Managed domains that come, go and change with a SIGHUP: no restart, and no request is lost."""
import signal
import ssl

from cryptography import x509
import pytest

from harness.http1 import Client, tls_context
from harness.load import Load
from harness.waiting import wait_until


def managed(backend, *hosts, **keys):
    return {"hosts": list(hosts), "backend": backend.address, "managed": True, **keys}


def is_verified(front, ca, name):
    """Whether a client that trusts the CA gets 200 over HTTPS."""
    try:
        return front.get(host=name, roots=ca.root).status == 200
    except (ssl.SSLError, OSError):
        return False


def shown_certificate(front, name):
    """What a client that verifies nothing is shown."""
    with Client(("127.0.0.1", front.https), tls=name, context=tls_context()) as client:
        return x509.load_der_x509_certificate(client.socket.getpeercert(binary_form=True))


def names_of(certificate):
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return sorted(extension.value.get_values_for_type(x509.DNSName))


def reload(front, sites):
    """SIGHUP with these sites, until it has been done."""
    before = front.log.count("is in effect")
    front.document["site"] = list(sites)
    front.write_config()
    front.send_signal(signal.SIGHUP)
    wait_until(lambda: front.log.count("is in effect") > before, "the reload is done")


def wait_for_certificate(front, ca, *names):
    for name in names:
        wait_until(lambda: is_verified(front, ca, name),
                   f"a certificate for {name}; log:\n{front.log}", 30, every=0.05)


def domains(front):
    return [domain["name"] for domain in front.status().get("managed-domains", [])]


@pytest.mark.threads
@pytest.mark.core
def test_a_domain_that_is_added_gets_its_certificate_while_others_are_served(acme, apache):
    httpd = apache()
    ca, front = acme([managed(httpd, "one.test")], server={"workers": 2})
    wait_for_certificate(front, ca, "one.test")
    process = front.process.pid
    load = Load(front, ca.root, "one.test")
    reload(front, [managed(httpd, "one.test"), managed(httpd, "two.test", "www.two.test")])
    wait_for_certificate(front, ca, "two.test", "www.two.test")
    assert load.stop() == []
    assert len(load.serials) == 1
    assert front.process.pid == process
    assert domains(front) == ["one.test", "two.test"]
    assert "next start" not in front.log
    assert ca.orders() == 2


@pytest.mark.threads
@pytest.mark.core
def test_a_domain_that_is_removed_is_served_no_more_and_its_files_stay(acme, backend):
    sites = [managed(backend, "one.test"), managed(backend, "two.test")]
    ca, front = acme(sites)
    wait_for_certificate(front, ca, "one.test", "two.test")
    serial = shown_certificate(front, "one.test").serial_number
    reload(front, sites[1:])
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        shown_certificate(front, "one.test")
    assert is_verified(front, ca, "two.test")
    assert domains(front) == ["two.test"]
    assert (front.store / "domains/one.test/pubcert.p-256.pem").exists()
    reload(front, [managed(backend, "two.test", default=True)])
    assert names_of(shown_certificate(front, "one.test")) == ["two.test"]
    # It comes back with what it had.
    reload(front, sites)
    assert shown_certificate(front, "one.test").serial_number == serial
    assert is_verified(front, ca, "one.test")
    assert ca.orders() == 2


@pytest.mark.threads
@pytest.mark.core
def test_names_that_change_get_a_new_certificate_and_lose_no_request(acme, apache):
    httpd = apache()
    ca, front = acme([managed(httpd, "one.test", "old.test")], server={"workers": 2})
    wait_for_certificate(front, ca, "one.test")
    load = Load(front, ca.root, "one.test")
    reload(front, [managed(httpd, "one.test", "new.test")])
    wait_for_certificate(front, ca, "new.test")
    # Another first name is another directory in the store, and the same certificate.
    reload(front, [managed(httpd, "new.test", "one.test")])
    assert is_verified(front, ca, "new.test")
    assert domains(front) == ["new.test"]
    assert load.stop() == []
    assert names_of(shown_certificate(front, "one.test")) == ["new.test", "one.test"]
    assert ca.orders() == 2
    assert not (front.store / "domains/one.test").exists()


def test_a_domain_that_is_divided_and_put_together_again_loses_no_request(acme, apache):
    httpd = apache()
    whole = [managed(httpd, "one.test", "two.test")]
    ca, front = acme(whole, server={"workers": 2})
    wait_for_certificate(front, ca, "one.test")
    load = Load(front, ca.root, "two.test")
    reload(front, [managed(httpd, "one.test"), managed(httpd, "two.test")])
    wait_until(lambda: names_of(shown_certificate(front, "two.test")) == ["two.test"],
               "a certificate of its own", 30)
    reload(front, whole)
    wait_until(lambda: names_of(shown_certificate(front, "two.test")) == ["one.test", "two.test"],
               "one for both", 30)
    assert load.stop() == []
    assert domains(front) == ["one.test"]


def test_a_site_goes_from_its_own_files_to_a_managed_domain_and_back(
        acme, apache, authority, folder):
    httpd = apache()
    files = authority.issue("one.test")
    own = {"hosts": ["one.test"], "backend": httpd.address,
           "certificate_file": str(files.chain), "certificate_key_file": str(files.key)}
    ca, front = acme([own], server={"workers": 2})
    both = folder / "both.pem"
    both.write_text(ca.root.read_text() + authority.root.read_text())
    load = Load(front, both, "one.test")
    assert not front.store.exists()
    # The first managed domain: the engine begins with it.
    reload(front, [managed(httpd, "one.test")])
    wait_for_certificate(front, ca, "one.test")
    reload(front, [own])
    assert shown_certificate(front, "one.test").serial_number == int(files.serial, 16)
    assert front.get_admin("/md-status/").status == 200
    assert load.stop() == []


def test_a_store_that_cannot_be_used_refuses_the_first_managed_domain(acme, backend, site, folder):
    in_the_way = folder / "file"
    in_the_way.write_text("not a directory")
    ca, front = acme([site(backend)], md={"store_dir": str(in_the_way / "md")})
    sites = [site(backend), managed(backend, "one.test")]
    front.document["site"] = sites
    front.write_config()
    front.send_signal(signal.SIGHUP)
    front.process.wait_for_log("is refused, since the store")
    assert front.get().status == 200
    assert front.get_plain(host="one.test").status == 404
    assert domains(front) == []
    in_the_way.unlink()
    reload(front, sites)
    wait_for_certificate(front, ca, "one.test")


def test_a_hundred_reloads_with_other_domains_each_time_leak_nothing(acme, apache):
    httpd = apache()
    sites = [managed(httpd, "one.test"), managed(httpd, "two.test")]
    ca, front = acme(sites, server={"workers": 2})
    wait_for_certificate(front, ca, "one.test", "two.test")
    load = Load(front, ca.root, "one.test", threads=1)
    for _ in range(5):
        reload(front, sites[:1])
        reload(front, sites)
    files, memory = front.process.open_files(), front.rss
    for _ in range(50):
        reload(front, sites[:1])
        reload(front, sites)
    assert load.stop() == []
    assert is_verified(front, ca, "two.test")
    assert ca.orders() == 2
    assert front.process.open_files() <= files + 20
    assert front.rss < memory + 8 * 1024 * 1024
