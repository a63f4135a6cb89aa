"""What CAs ask for and offer: external accounts, nonces that fail, reused authorizations, long
chains, profiles, renewal information, short lifetimes, many domains. The CA is real; where
Debian's Pebble is too old, a current one (tests/e2e/install-pebble)."""
import base64
import datetime
import json
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
import pytest

from harness.waiting import wait_until
from test_acme import is_verified, managed, shown_certificate, wait_for_certificate

KEYS = {"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
        "kid-2": "b10lLJs8l1GPIzsLP0s6pMt8O0XVGnfTaCeROxQM0BIt2XrJMDHJZBM5NuQmQJQH"}
DAY = 86400


def unmanaged(backend, name):
    """A site whose domain has a section of its own."""
    return {"hosts": [name], "backend": backend.address}


def error_of(front, name):
    """The job of a domain, once it has failed."""
    return wait_until(lambda: (job := front.status(name).get("renewal", {})).get("errors") and job,
                      f"a failure of {name}; log:\n{front.log}", 30)


def seconds_to_next_run(job):
    times = [datetime.datetime.strptime(job[key], "%a, %d %b %Y %H:%M:%S GMT")
             for key in ("last-run", "next-run")]
    return (times[1] - times[0]).total_seconds()


def restart(front, **settings):
    """With other settings in [md]; None takes one away."""
    front.stop()
    front.document["md"].update(settings)
    for name in [name for name, value in settings.items() if value is None]:
        del front.document["md"][name]
    front.write_config()
    front.start()


def serial_of(front, name):
    return shown_certificate(front, name).serial_number


def renew(front, *names, timeout=30):
    """All are due after a restart, once; waits until clients are shown the new ones."""
    before = {name: serial_of(front, name) for name in names}
    restart(front, renew_window="100d")
    for name in names:
        wait_until(lambda: serial_of(front, name) != before[name],
                   f"{name} is renewed; log:\n{front.log}", timeout, every=0.05)


def stored_chain_length(front, name):
    path = next((front.store / "domains" / name).glob("pubcert*.pem"))
    return path.read_text().count("BEGIN CERTIFICATE")


def everything_told(front, name):
    pages = [front.get_admin(target).body.decode() for target in (
        "/", "/status.json", "/md-status/", f"/md-status/{name}")]
    return "\n".join([front.log, *pages])


# External accounts (faults.md CA-21)

@pytest.mark.core
def test_an_account_is_bound_to_the_external_one(acme, backend):
    ca, front = acme([managed(backend, "one.test")], pebble={"eab": KEYS},
                     md={"external_account_binding": ["kid-2", KEYS["kid-2"]]})
    wait_for_certificate(front, ca, "one.test")
    assert 'Successful newAccount Binding with CA using kid "kid-2"' in ca.log
    assert KEYS["kid-2"] not in everything_told(front, "one.test")


@pytest.mark.parametrize("binding, says", [
    (None, "set external_account_binding to the key id and HMAC key"),
    (["kid-1", KEYS["kid-2"]], "check external_account_binding, key id kid-1"),
    (["kid-3", KEYS["kid-1"]], "check external_account_binding, key id kid-3")],
    ids=["none", "wrong-hmac", "unknown-kid"])
def test_a_wrong_binding_is_told_and_a_right_one_is_used_at_once(acme, backend, binding, says):
    ca, front = acme([managed(backend, "one.test")], pebble={"eab": KEYS},
                     md={"external_account_binding": binding} if binding else {})
    job = error_of(front, "one.test")
    assert says in job["last"]["detail"]
    assert seconds_to_next_run(job) > DAY / 2 - 2
    assert not any(key in everything_told(front, "one.test") for key in KEYS.values())
    restart(front, external_account_binding=["kid-1", KEYS["kid-1"]])
    wait_for_certificate(front, ca, "one.test")


# Nonces and authorizations (CA-01, CA-25)

@pytest.mark.parametrize("reuse", [0, 100])
def test_authorizations_are_used_again_if_the_ca_does_so(acme, backend, reuse):
    ca, front = acme([managed(backend, "one.test", "two.test")],
                     pebble={"authz_reuse": reuse, "bad_nonces": 15})
    wait_for_certificate(front, ca, "one.test")
    asked = ca.count("chalZ")
    assert asked >= 2
    renew(front, "one.test")
    assert (ca.count("chalZ") == asked) == (reuse == 100)


# Chains (CA-37, CA-38)

def test_a_long_chain_is_served_whole(acme, backend):
    ca, front = acme([managed(backend, "one.test")],
                     pebble={"chain_length": 3, "alternate_roots": 2})
    wait_for_certificate(front, ca, "one.test")  # with nothing but the root at hand
    assert stored_chain_length(front, "one.test") == 4


def test_the_chain_to_a_preferred_root_is_served(acme, backend):
    ca, front = acme([managed(backend, "one.test"), unmanaged(backend, "two.test"),
                      unmanaged(backend, "three.test")],
                     pebble={"alternate_roots": 2}, start=False)
    roots = [x509.load_pem_x509_certificate(ca.root_certificate(number)) for number in range(3)]
    names = [root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value for root in roots]
    front.document["md"]["preferred_chain"] = names[2]
    front.document["md"]["domain"] = [{"names": ["two.test"], "preferred_chain": names[1]},
                                      {"names": ["three.test"], "preferred_chain": "Nobody's"}]
    front.write_config()
    front.start()
    for name, root in (("one.test", 2), ("two.test", 1), ("three.test", 0)):
        roots_file = front.folder / f"root{root}.pem"
        roots_file.write_bytes(ca.root_certificate(root))
        wait_until(lambda: front.status(name)["state"] == 2, f"a certificate for {name}", 30)
        assert front.get(host=name, roots=roots_file).status == 200


# Profiles (CA-45)

PROFILES = {"default": 90 * DAY, "shortlived": 6 * DAY}


@pytest.mark.parametrize("wanted, days", [("default", 90), ("SHORTLIVED", 6)])
def test_a_profile_is_ordered(acme, backend, wanted, days):
    ca, front = acme([managed(backend, "one.test")], md={"profile": wanted},
                     pebble={"current": True, "profiles": PROFILES})
    wait_for_certificate(front, ca, "one.test")
    certificate = shown_certificate(front, "one.test")
    lifetime = certificate.not_valid_after - certificate.not_valid_before
    assert round(lifetime.total_seconds() / DAY) == days


def test_an_unknown_profile_is_done_without_or_told(acme, backend):
    ca, front = acme(
        [managed(backend, "lax.test"), unmanaged(backend, "strict.test")], md={"profile": "tiny"},
        domains=[{"names": ["strict.test"], "profile_mandatory": True}],
        pebble={"current": True, "profiles": PROFILES})
    wait_for_certificate(front, ca, "lax.test")
    text = "the CA does not offer the profile tiny; it offers default, shortlived"
    front.process.wait_for_log(f"lax.test: {text}; going on without")
    job = error_of(front, "strict.test")
    assert f"{text}; change profile, or switch profile_mandatory off" in job["last"]["detail"]
    assert seconds_to_next_run(job) > DAY / 2 - 2
    restart(front, profile="shortlived")
    wait_for_certificate(front, ca, "strict.test")


# Renewal information (RFC 9773, CA-43, CA-44)

def ari_answer(starts_in, ends_in, **more):
    now = datetime.datetime.utcnow()
    start, end = ((now + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
                  for seconds in (starts_in, ends_in))
    return json.dumps({"suggestedWindow": {"start": start, "end": end}, **more})


def pem_of(front, name):
    return shown_certificate(front, name).public_bytes(serialization.Encoding.PEM).decode()


def test_the_cas_window_is_followed_and_the_order_says_what_it_replaces(acme, backend):
    ca, front = acme([managed(backend, "one.test")], pebble={"current": True})
    wait_for_certificate(front, ca, "one.test")
    leaf = shown_certificate(front, "one.test")
    key_id = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    number = leaf.serial_number.to_bytes(leaf.serial_number.bit_length() // 8 + 1, "big")
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=").decode()
             for part in (key_id.key_identifier, number)]
    assert front.status("one.test")["cert"]["P-256"]["ari-cert-id"] == ".".join(parts)

    ca.set_renewal_info(pem_of(front, "one.test"), ari_answer(
        10 * DAY, 11 * DAY, explanationURL="https://ca.test/why"))
    restart(front)
    advice = wait_until(lambda: front.status("one.test").get("ari"), "advice in md-status")
    assert advice["explanation-url"] == "https://ca.test/why"
    at = datetime.datetime.strptime(advice["renew-at"], "%a, %d %b %Y %H:%M:%S GMT")
    assert 9 < (at - datetime.datetime.utcnow()).total_seconds() / DAY < 11.1
    assert serial_of(front, "one.test") == leaf.serial_number


def test_a_window_that_is_over_means_now(acme, backend):
    ca, front = acme([managed(backend, "one.test")], pebble={"current": True})
    wait_for_certificate(front, ca, "one.test")
    before = serial_of(front, "one.test")
    ca.set_renewal_info(pem_of(front, "one.test"), ari_answer(-2 * DAY, -DAY))
    restart(front)
    wait_until(lambda: serial_of(front, "one.test") != before, "a renewal", 30, every=0.05)
    assert "is a replacement of" in ca.log
    assert is_verified(front, ca, "one.test")


@pytest.mark.parametrize("nonsense", ["", "{}", "[" * 1000, ari_answer(DAY, 0)],
                         ids=["empty", "no-window", "deep", "ends-before-it-starts"])
def test_advice_that_is_of_no_use_changes_nothing(acme, backend, nonsense):
    ca, front = acme([managed(backend, "one.test")], pebble={"current": True},
                     server={"log_level": "debug"})
    wait_for_certificate(front, ca, "one.test")
    before = serial_of(front, "one.test")
    ca.set_renewal_info(pem_of(front, "one.test"), nonsense)
    restart(front)
    if nonsense:  # nothing to say is what Pebble takes for its own advice
        wait_until(lambda: "no renewal information" in front.log, "that it was of no use")
        assert "ari" not in front.status("one.test")
    assert serial_of(front, "one.test") == before
    assert not front.status("one.test").get("renewal", {}).get("errors")


@pytest.mark.parametrize("current", [False, True], ids=["debian", "current"])
def test_a_ca_that_lost_everything_renews_all_the_same(acme, backend, current):
    ca, front = acme([managed(backend, "one.test")], pebble={"current": current})
    wait_for_certificate(front, ca, "one.test")
    ca.close()
    ca.start()  # without accounts, orders and certificates, and with other roots
    renew(front, "one.test")
    assert is_verified(front, ca, "one.test")
    front.process.wait_for_log("the CA does not know account")
    assert not front.status("one.test").get("renewal", {}).get("errors")
    assert len(list((front.store / "accounts").iterdir())) == 1


# Renewing while serving

class Visitors(threading.Thread):
    """Asks one name after the other for as long as it is told to, and counts what goes wrong."""

    def __init__(self, front, ca, names):
        super().__init__()
        self._front, self._ca, self._names = front, ca, names
        self._ended = threading.Event()
        self.answered = 0
        self.failures = []

    def run(self):
        while not self._ended.is_set():
            name = self._names[self.answered % len(self._names)]
            try:
                status = self._front.get(host=name, roots=self._ca.root).status
                if status != 200:
                    self.failures.append((name, status))
            except Exception as error:  # whatever it is, a client was not served
                self.failures.append((name, repr(error)))
            self.answered += 1
            self._ended.wait(0.005)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self.join()


@pytest.mark.long
def test_certificates_of_seconds_are_renewed_while_they_are_used(acme, backend):
    ca, front = acme([managed(backend, "one.test")], pebble={"current": True, "lifetime": 30},
                     md={"renew_window": "80%", "check_interval": "1s", "renew_via_ari": False})
    wait_for_certificate(front, ca, "one.test")
    serials = {serial_of(front, "one.test")}

    def count():
        serials.add(serial_of(front, "one.test"))
        return len(serials)

    with Visitors(front, ca, ["one.test"]) as visitors:
        wait_until(lambda: count() >= 4, "three renewals", 90, every=0.2)
    assert not visitors.failures
    assert visitors.answered > 100


@pytest.mark.long
def test_five_hundred_domains_are_issued_and_renewed(acme, backend, capsys):
    names = [f"site{number}.test" for number in range(500)]
    ca, front = acme([unmanaged(backend, name) for name in names], pebble={
        "current": True, "always_valid": True}, start=False)
    # Two CAs, as far as mdfront can see: each gets half of the engine's threads.
    other = ca.directory.replace("localhost", "127.0.0.1")
    front.document["md"]["domain"] = [
        {"names": [name], "certificate_authority": [ca.directory if number % 2 else other]}
        for number, name in enumerate(names)]
    front.write_config()
    began = time.monotonic()
    front.start()

    def serials():
        return {domain["name"]: domain["cert"].get("P-256", {}).get("serial")
                for domain in front.status()["managed-domains"]}

    wait_until(lambda: all(serials().values()), "500 certificates", 240, every=0.5)
    issued = time.monotonic()
    first = serials()
    restart(front, renew_window="100d")
    start_rss = front.rss
    with Visitors(front, ca, names) as visitors:
        wait_until(lambda: all(serial != first[name] for name, serial in serials().items()),
                   "500 renewals", 240, every=0.5)
    renewed = time.monotonic()
    with capsys.disabled():
        print(f"\n500 issued in {issued - began:.1f} s, renewed in {renewed - issued:.1f} s, "
              f"{visitors.answered} requests meanwhile, rss {start_rss >> 20} MiB at the start, "
              f"{front.rss >> 20} MiB at the end")
    assert not visitors.failures
    assert visitors.answered > 100
    assert ca.count("sign-me-up") <= 5  # an account for each of the two; a bad nonce asks again
    assert front.rss - start_rss < 48 << 20
    assert not [domain["name"] for domain in front.status()["managed-domains"]
                if domain.get("renewal", {}).get("errors")]
