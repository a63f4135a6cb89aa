"""OCSP stapling and revocation: a real responder (`openssl ocsp`) with a real CA's key (Pebble)."""
import datetime
import json
import os
import re
import shutil
import signal
import time

from cryptography import x509
import pytest

from harness.mod_md import MODULES, ModMd
from harness.responder import OCSP, Responder, answer, delegate, staple, wait_for_staple
from harness.waiting import wait_until
from test_acme import managed, shown_certificate, wait_for_certificate

# Answers of openssl's hold an hour here, and are refreshed two seconds after they were made.
SOON = "3598s"


@pytest.fixture
def responder(started, folder):
    return started(Responder(folder / "responder"))


@pytest.fixture
def stapled(acme, backend, responder):
    """stapled("one.test", …): (pebble, mdfront) whose certificates have staples."""

    def make(*names, md=None, keys=("ECDSA",), delegated=False, pebble=None, **options):
        names = names or ("one.test",)
        kinds = {"ECDSA": "P-256", "RSA": "RSA"}
        ca, front = acme([managed(backend, name) for name in names],
                         md={"stapling": True, "private_keys": [kinds[key] for key in keys],
                             **(md or {})},
                         pebble={"responder": responder.url, **(pebble or {})}, **options)
        responder.open(ca.issuer(), delegate(ca.issuer()) if delegated else None)
        wait_for_certificate(front, ca, *names)
        responder.know(*(shown(front, name, key) for name in names for key in keys))
        for name in names:
            for key in keys:
                wait_for_staple(front.https, name, f"a staple; log:\n{front.log}", kind=key)
        return ca, front

    return make


class Serial:
    """Of a certificate that was shown, as the responder wants it."""

    def __init__(self, number):
        self.serial_number = number


def shown(front, name, kind=None):
    return Serial(staple(front.https, name, kind=kind)[2])


def ocsp(front, name="one.test", key="P-256"):
    return front.status(name)["cert"][key].get("ocsp", {})


def error_of(front, name="one.test", key="P-256"):
    return ocsp(front, name, key)["renewal"].get("last", {}).get("detail", "")


def section_of_files(front):
    """What the status page shows of certificates of no domain; "" if it does not."""
    page = front.get_admin("/").body.decode()
    return page.partition("<h2>Certificates from files</h2>")[2].partition("<h2>")[0]


@pytest.mark.core
@pytest.mark.parametrize("delegated", [False, True])
def test_each_kind_of_certificate_is_sent_with_its_own_staple(stapled, responder, delegated):
    _, front = stapled(keys=("ECDSA", "RSA"), delegated=delegated)
    serials = set()
    for kind in ("ECDSA", "RSA"):
        for version in ("-tls1_2", "-tls1_3"):
            status, serial, certificate = staple(front.https, "one.test", version, kind)
            assert status == "good" and serial == certificate
            serials.add(serial)
    assert len(serials) == 2
    assert {request[0] for request in responder.requests} <= {"GET", "POST"}
    assert responder.requests[-1][0] == "GET"  # caches can answer it
    for key in ("P-256", "rsa"):
        report = ocsp(front, key=key)
        assert report["status"] == "good" and report["responder"] == responder.url
        assert report["renewal"]["errors"] == 0 and report["renewal"]["finished"] is True
    page = front.get_plain("/.httpd/certificate-status", host="one.test")
    assert json.loads(page.body)["P-256"]["ocsp"]["status"] == "good"


def issued(ca):
    """All certificates that Pebble made, as the responder wants them."""
    return [Serial(int(serial, 16))
            for serial in re.findall(r"Issued certificate serial ([0-9a-f]+)", ca.log)]


def waits_for_its_staple(front):
    problem = front.status("one.test").get("renewal", {}).get("last", {}).get("detail", "")
    return "must be stapled, and waits for its staple" in problem


@pytest.mark.core
@pytest.mark.threads
def test_a_must_staple_certificate_goes_live_only_with_its_staple(acme, backend, responder):
    """Debian's Pebble ignores the request for the TLS feature extension (RFC 7633)."""
    responder.down()
    ca, front = acme([managed(backend, "one.test")], md={"stapling": True, "must_staple": True},
                     pebble={"current": True, "responder": responder.url})
    wait_until(lambda: waits_for_its_staple(front), f"the first one waits; log:\n{front.log}", 30)
    assert front.get(host="one.test").status == 503
    responder.open(ca.issuer())
    responder.know(*issued(ca))
    responder.up()
    first = wait_for_staple(front.https, "one.test", f"the first one; log:\n{front.log}")
    assert ca.orders() == 1
    feature, = shown_certificate(front, "one.test").extensions.get_extension_for_class(
        x509.TLSFeature).value
    assert feature == x509.TLSFeatureType.status_request

    # The next one: the responder does not know it yet.
    front.restart(md={"renew_window": "100d"})
    wait_until(lambda: waits_for_its_staple(front), f"the next one waits; log:\n{front.log}", 30)
    assert staple(front.https, "one.test") == ("good", first, first)
    responder.know(*issued(ca))
    wait_until(lambda: staple(front.https, "one.test")[2] != first,
               f"the next one; log:\n{front.log}", 30)
    status, stapled, second = staple(front.https, "one.test")
    assert (status, stapled) == ("good", second)


def test_a_must_staple_certificate_without_a_staple_at_the_start_is_served_and_told_of(
        acme, backend, responder):
    ca, front = acme([managed(backend, "one.test")], md={"stapling": True, "must_staple": True},
                     pebble={"current": True, "responder": responder.url})
    responder.open(ca.issuer())
    wait_until(lambda: issued(ca), "a certificate")
    responder.know(*issued(ca))
    wait_for_staple(front.https, "one.test", f"a staple; log:\n{front.log}")
    front.stop()
    responder.down()
    shutil.rmtree(front.store / "ocsp")
    front.restart(md={"retry_delay": "1h"})
    assert front.get(host="one.test", roots=ca.root).status == 200
    assert staple(front.https, "one.test")[0] is None
    wait_until(lambda: "refused" in error_of(front), f"the error; log:\n{front.log}")
    again = datetime.datetime.strptime(ocsp(front)["renewal"]["next-run"],
                                       "%a, %d %b %Y %H:%M:%S GMT")
    left = (again - datetime.datetime.utcnow()).total_seconds()
    assert left <= 300, ocsp(front)  # OC-20


@pytest.mark.core
def test_after_a_restart_the_first_handshake_has_its_staple_though_the_responder_is_down(
        stapled, responder):
    _, front = stapled()
    responder.down()
    front.restart()
    status, serial, certificate = staple(front.https, "one.test")
    assert (status, serial) == ("good", certificate)


def test_a_swap_brings_its_own_staple(stapled, responder):
    ca, front = stapled(md={"renew_window": "33%"})
    old = shown(front, "one.test").serial_number

    def knows_all(handler, body):
        # Pebble's next certificate is known as soon as it is asked about.
        for one in issued(ca):
            if one.serial_number not in responder._known:
                responder.know(one)
        return False

    responder.fault = knows_all
    front.restart(md={"renew_window": "100d"})
    seen = []

    def is_new():
        status, serial, certificate = staple(front.https, "one.test")
        seen.append((status, serial == certificate))
        return certificate != old

    wait_until(is_new, f"a new certificate; log:\n{front.log}", 30, every=0.02)
    assert all(one == ("good", True) for one in seen), seen


def html(handler, body):
    return answer(handler, b"<html>maintenance</html>", "text/html")


def moved(handler, body):
    return answer(handler, b"", status=302, fields={"Location": "http://127.0.0.1/"})


def garbage(handler, body):
    return answer(handler, b"\x30\x03\x0a\x01")


def huge(handler, body):
    try:
        return answer(handler, b"\x30" * 10_000_000)
    except OSError:  # nobody reads that far
        return True


def endless(handler, body):
    handler.send_response(200)
    handler.send_header("Content-Type", OCSP)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    try:
        for _ in range(1000):
            handler.wfile.write(b"400\r\n" + b"\x30" * 1024 + b"\r\n")
    except OSError:
        pass
    handler.close_connection = True
    return True


def cut(handler, body):
    handler.send_response(200)
    handler.send_header("Content-Type", OCSP)
    handler.send_header("Content-Length", "500")
    handler.end_headers()
    handler.wfile.write(b"\x30\x82")
    handler.close_connection = True
    return True


def try_later(handler, body):
    return answer(handler, bytes.fromhex("30030a0103"))


@pytest.mark.core
@pytest.mark.parametrize("fault, words", [
    (html, 'content of type "text/html"'),
    (moved, "status 302 (redirects are not followed)"),
    (garbage, "it is no OCSPResponse in DER"),
    (huge, "larger than 65536 bytes"),
    (endless, "larger than 65536 bytes"),
    (cut, "127.0.0.1"),
    (try_later, "tryLater: it is busy"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_a_bad_answer_keeps_the_good_staple_and_is_told(stapled, responder, fault, words):
    _, front = stapled(md={"stapling_renew_window": SOON})
    responder.fault = fault
    wait_until(lambda: words in error_of(front), f"{words} in md-status; it says "
               f"{ocsp(front)}; log:\n{front.log}")
    status, serial, certificate = staple(front.https, "one.test")
    assert (status, serial) == ("good", certificate)
    assert ocsp(front)["status"] == "good" and ocsp(front)["renewal"]["errors"] >= 1
    assert "failed in a row" in front.command("certs", "show", "one.test").stdout
    responder.fault = None
    wait_until(lambda: ocsp(front)["renewal"]["errors"] == 0, "an answer")


@pytest.mark.parametrize("status", [404, 500])
def test_a_valid_body_with_an_error_status_is_not_believed(stapled, responder, status):
    _, front = stapled(md={"stapling_renew_window": SOON})
    before = ocsp(front)["valid"]
    responder.fault = lambda handler, body: answer(
        handler, responder.ask(handler.command, handler.path, body), status=status)
    wait_until(lambda: f"status {status}" in error_of(front), "the error")
    assert staple(front.https, "one.test")[0] == "good"
    assert ocsp(front)["valid"]["until"] >= before["until"]


def test_a_responder_that_is_down_or_slow_changes_nothing_for_clients(stapled, responder):
    _, front = stapled(md={"stapling_renew_window": SOON})
    responder.down()
    wait_until(lambda: "cannot connect" in error_of(front), "the error")
    assert staple(front.https, "one.test")[0] == "good"
    responder.up()
    wait_until(lambda: ocsp(front)["renewal"]["errors"] == 0, "an answer")
    reached = []

    def slow(handler, body):
        reached.append(1)
        handler.rfile.read(1)  # until mdfront gives up
        return True

    responder.fault = slow
    wait_until(lambda: reached, "a question that hangs")
    for _ in range(20):
        assert staple(front.https, "one.test")[0] == "good"


@pytest.mark.core
@pytest.mark.parametrize("how", ["foreign key", "no right to sign", "expired"])
def test_an_answer_that_nobody_authorized_is_never_stapled(
        acme, backend, responder, authority, how):
    ca, front = acme([managed(backend, "one.test")], md={"stapling": True},
                     pebble={"responder": responder.url})
    signer = {"foreign key": lambda: delegate(authority.issuer()),
              "no right to sign": lambda: delegate(ca.issuer(), eku=False),
              "expired": lambda: delegate(ca.issuer(), days=-1 / 24)}[how]()
    responder.open(ca.issuer(), signer)
    wait_for_certificate(front, ca, "one.test")
    responder.know(shown(front, "one.test"))
    wait_until(lambda: "has signed it" in error_of(front), f"a refusal; log:\n{front.log}")
    assert staple(front.https, "one.test")[0] is None
    assert ocsp(front)["status"] == "unknown"
    assert not list(front.store.glob("ocsp/one.test/ocsp-*.json"))


def test_unknown_is_not_stapled_and_asked_again(acme, backend, responder):
    ca, front = acme([managed(backend, "one.test")], md={"stapling": True},
                     pebble={"responder": responder.url})
    responder.open(ca.issuer())
    wait_for_certificate(front, ca, "one.test")
    wait_until(lambda: "does not know this certificate (unknown)" in error_of(front), "the error")
    assert staple(front.https, "one.test")[0] is None
    responder.know(shown(front, "one.test"))
    wait_for_staple(front.https, "one.test")


@pytest.mark.core
def test_a_revoked_certificate_is_not_stapled_as_such_and_renewed_at_once(
        stapled, responder, events):
    message, told = events
    _, front = stapled(md={"stapling_renew_window": SOON, "message_cmd": message})
    old = shown(front, "one.test")
    key = shown_certificate(front, "one.test").public_key()
    responder.know(old, revoked="keyCompromise")
    wait_until(lambda: shown(front, "one.test").serial_number != old.serial_number,
               f"a new certificate; log:\n{front.log}", 30, every=0.05)
    assert shown_certificate(front, "one.test").public_key().public_numbers() != \
        key.public_numbers()
    front.process.wait_for_log("was revoked at")
    front.process.wait_for_log("keyCompromise")
    wait_until(lambda: told().count("installed one.test") == 2, "the events")
    assert told().count("revoked one.test") == 1
    assert told().index("revoked one.test") > told().index("installed one.test")


def test_a_revoked_certificate_is_red_until_the_new_one_is_there(stapled, responder):
    ca, front = stapled(md={"stapling_renew_window": SOON})
    old = shown(front, "one.test")
    ca.close()
    responder.know(old, revoked="superseded")
    wait_until(lambda: ocsp(front).get("status") == "revoked", "the news")
    wait_until(lambda: staple(front.https, "one.test")[0] is None, "no staple")
    page = front.get_admin("/").body.decode()
    assert '<span class="state bad">revoked</span>' in page
    assert "revoked" in front.command("certs", "list").stdout
    # Also after a restart: what was learnt is kept.
    responder.down()
    front.restart()
    assert staple(front.https, "one.test")[0] is None
    assert front.status("one.test")["cert"]["P-256"]["revoked"]["reason"] == "superseded"


def test_certificates_from_files_are_stapled_if_others_are(mdfront, backend, site, authority,
                                                           responder):
    files = authority.issue("example.test", "www.example.test", responder=responder.url)
    responder.open(authority.issuer())
    responder.know(files.certificate)
    front = mdfront([site(backend, files=files)], md={"stapling": True})
    wait_for_staple(front.https, "example.test", f"a staple; log:\n{front.log}")
    assert [path.name for path in front.store.glob("ocsp/*")] == ["other"]
    certificate, = json.loads(front.get_admin("/domains.json").body)["file_certificates"]
    assert certificate["names"] == ["example.test", "www.example.test"]
    assert certificate["serial"].lstrip("0") == files.serial.lstrip("0")
    assert certificate["ocsp"]["status"] == "good" and certificate["ocsp"]["stapled"] is True
    assert certificate["ocsp"]["url"] == responder.url
    wait_until(lambda: section_of_files(front).count(">good, ends in ") == 1, "it on the page")
    assert ">example.test<small>www.example.test</small>" in section_of_files(front)

    front.restart(md={"staple_others": False})
    assert staple(front.https, "example.test")[0] is None
    assert json.loads(front.get_admin("/domains.json").body)["file_certificates"] == []
    assert section_of_files(front) == ""


def test_what_goes_wrong_with_a_certificate_from_files_is_told(mdfront, backend, site, authority,
                                                               responder):
    files = authority.issue("example.test", responder=responder.url)
    responder.open(authority.issuer())
    responder.know(files.certificate, revoked="superseded")
    front = mdfront([site(backend, files=files)], md={"stapling": True})
    wait_until(lambda: '<span class="state bad">revoked</span>' in section_of_files(front),
               f"the news; log:\n{front.log}")
    certificate, = json.loads(front.get_admin("/domains.json").body)["file_certificates"]
    assert certificate["revoked"]["reason"] == "superseded"
    assert certificate["ocsp"]["status"] == "revoked"
    front.stop()
    shutil.rmtree(front.store / "ocsp")
    responder.down()
    front.start()
    wait_until(lambda: 'class="error"' in section_of_files(front),
               f"the error; log:\n{front.log}")
    certificate, = json.loads(front.get_admin("/domains.json").body)["file_certificates"]
    assert certificate["ocsp"]["status"] == "unknown" and certificate["ocsp"]["errors"] > 0


def test_a_domain_with_files_of_its_own_is_stapled(mdfront, backend, authority, responder):
    files = authority.issue("one.test", responder=responder.url)
    responder.open(authority.issuer())
    responder.know(files.certificate)
    front = mdfront([{"hosts": ["one.test"], "backend": backend.address}], domains=[
        {"names": ["one.test"], "certificate_file": str(files.chain), "stapling": True,
         "certificate_key_file": str(files.key)}])
    wait_for_staple(front.https, "one.test", f"a staple; log:\n{front.log}")
    assert ocsp(front, key="0")["stapled"] is True


def test_switching_stapling_on_and_off(acme, backend, responder):
    """One of two domains; by SIGHUP, nothing is restarted."""
    ca, front = acme([managed(backend, "one.test"), managed(backend, "two.test")],
                     md={"revocation_check": "off"}, pebble={"responder": responder.url})
    responder.open(ca.issuer())
    wait_for_certificate(front, ca, "one.test", "two.test")
    responder.know(shown(front, "one.test"), shown(front, "two.test"))
    assert not responder.requests and staple(front.https, "one.test")[0] is None
    for is_on in (True, False, True):
        front.document["site"] = [managed(backend, "two.test"),
                                  {"hosts": ["one.test"], "backend": backend.address}]
        front.document["md"]["domain"] = [{"names": ["one.test"], "stapling": is_on}]
        front.write_config()
        front.send_signal(signal.SIGHUP)
        wait_until(lambda: (staple(front.https, "one.test")[0] == "good") == is_on,
                   f"stapling {is_on}; log:\n{front.log}")
        assert staple(front.https, "two.test")[0] is None
    assert ca.orders() == 2


def test_more_domains_than_are_asked_about_at_a_time(stapled, responder):
    names = [f"d{number}.test" for number in range(9)]
    _, front = stapled(*names)
    page = front.get_admin("/status.json")
    assert page.status == 200
    assert all(ocsp(front, name)["status"] == "good" for name in names)


def test_a_crl_that_lists_the_certificate_has_it_renewed(acme, backend, responder, authority):
    """A store that was taken over: its certificate's CA has no OCSP any more."""
    ca, front = acme([managed(backend, "one.test")])
    wait_for_certificate(front, ca, "one.test")
    front.stop()
    files = authority.issue("one.test", crl=responder.crl_url)
    for name, source in (("pubcert.p-256.pem", files.chain), ("privkey.p-256.pem", files.key)):
        (front.store / "domains/one.test" / name).write_bytes(source.read_bytes())
    responder.make_crl(authority.issuer())
    front.start()
    wait_until(lambda: ocsp(front).get("status") == "good", f"the list; log:\n{front.log}")
    assert ocsp(front)["crl"] == responder.crl_url
    assert shown_certificate(front, "one.test").serial_number == files.certificate.serial_number
    front.stop()
    responder.make_crl(authority.issuer(), revoked=[files.certificate])
    record, = front.store.glob("ocsp/other/crl-*.json")
    record.unlink()  # else it is looked at in some hours
    front.start()
    wait_until(lambda: shown_certificate(front, "one.test").serial_number !=
               files.certificate.serial_number, f"a new one; log:\n{front.log}", 30)
    front.process.wait_for_log("keyCompromise")


def test_old_answers_that_nobody_uses_leave_the_store_at_a_start(stapled, responder):
    _, front = stapled()
    used, = front.store.glob("ocsp/one.test/ocsp-*.json")
    former = used.with_name(f"ocsp-{'0' * 40}.json")
    former.write_bytes(used.read_bytes())
    front.restart()
    assert former.exists()
    long_ago = time.time() - 60
    for answer in (used, former):
        os.utime(answer, (long_ago, long_ago))
    front.restart(md={"stapling_keep_response": "30s"})
    wait_until(lambda: not former.exists(), "its end")
    requests = len(responder.requests)
    front.restart(md={"stapling_keep_response": "7d"})
    assert staple(front.https, "one.test")[0] == "good"
    assert len(responder.requests) == requests and used.exists()


def test_a_reload_that_brings_the_first_domain_finds_its_old_answer(stapled, responder, backend,
                                                                    site):
    _, front = stapled()
    used, = front.store.glob("ocsp/one.test/ocsp-*.json")
    former = used.with_name(f"ocsp-{'0' * 40}.json")
    former.write_bytes(used.read_bytes())
    sites = list(front.document["site"])
    # Nothing of it is managed or stapled: the store is not even opened.
    front.restart(sites=[site(backend)],
                  md={"stapling_keep_response": "30s", "staple_others": False})
    responder.down()
    for answer in (used, former):
        os.utime(answer, (time.time() - 60,) * 2)
    front.document["site"] = sites
    front.write_config()
    front.send_signal(signal.SIGHUP)
    wait_for_staple(front.https, "one.test", f"the staple; log:\n{front.log}")
    wait_until(lambda: not former.exists(), "the end of what nobody uses")
    assert used.exists()


def test_without_a_responder_nothing_is_said(acme, backend):
    ca, front = acme([managed(backend, "one.test")], md={"stapling": True})
    wait_for_certificate(front, ca, "one.test")
    assert staple(front.https, "one.test")[0] is None
    assert "ocsp" not in front.status("one.test")["cert"]["P-256"]
    assert "OCSP" not in front.log


# Apache's mod_md on the same store

STAPLING = """
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
SSLUseStapling on
SSLStaplingCache shmcb:{folder}/stapling(32768)
MDStapling on
"""


@pytest.fixture
def httpd(started, folder):
    counter = iter(range(9))

    def make(front, ca):
        """httpd with mod_md on mdfront's store and ports."""
        number = next(counter)
        return started(ModMd(
            folder / f"httpd{number}", front.store, ca, front.https, front.http,
            {"one.test": ((), ["MDPrivateKeys P-256"])},
            more=STAPLING.format(modules=MODULES, folder=folder / f"httpd{number}")))

    return make


def test_mod_md_staples_what_mdfront_fetched(stapled, responder, httpd):
    ca, front = stapled()
    front.stop()
    responder.down()
    server = httpd(front, ca)
    wait_for_staple(front.https, "one.test", f"a staple of mod_md's; log:\n{server.log}")


def test_mdfront_staples_what_mod_md_fetched(stapled, responder, httpd):
    ca, front = stapled()
    front.stop()
    kept, = front.store.glob("ocsp/one.test/ocsp-*.json")
    # mod_md's child is not root, and writes only into directories of its own.
    shutil.rmtree(front.store / "ocsp")
    front.store.chmod(0o755)
    server = httpd(front, ca)
    wait_for_staple(front.https, "one.test", f"a staple of mod_md's; log:\n{server.log}")
    wait_until(kept.exists, "its file")
    server.close()
    responder.down()
    before = kept.read_bytes()
    assert b"verified-sha256" not in before
    front.start()
    status, serial, certificate = staple(front.https, "one.test")
    assert (status, serial) == ("good", certificate), front.log
    assert kept.read_bytes() == before
