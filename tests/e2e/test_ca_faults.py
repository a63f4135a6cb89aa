"""A CA that fails in every way (faults.md, CA-01 … CA-52; docs/ca-faults.md says where each is
proved). One mdfront and one Pebble for all cases of ca_fault_cases.py. Each case is a domain with
a certificate, whose CA is the fault injector under a host of its own. Then all of them have to be
renewed while their faults last, at the same time, and what happened is looked at case by case:
what was served, what md-status said, and that the renewal came by itself when the fault ended."""
import contextlib
import json
import shutil
import ssl
import time
import warnings

from cryptography import x509
import pytest

from ca_fault_cases import CASES
from harness.certificates import HOUR, Authority
from harness.fault_injector import ConnectProxy, FaultInjector, Rule
from harness.http1 import Client, Closed, tls_context
from harness.mdfront import Mdfront
from harness.pebble import Challtestsrv, Pebble
from harness.ports import free_port
from harness.waiting import wait_until


class Seen:
    """What happened to one case."""

    def __init__(self, case):
        self.case = case
        self.before = None  # serials that were served: before the fault,
        self.meanwhile = None  # when the first error was told,
        self.after = None  # and at the end
        self.job = None  # md-status, when the first error was told
        self.page = ""  # the status page then
        self.armed_at = 0.0
        self.asked_at_restart = 0
        self.asked_after_restart = 0


class Trial:
    """All cases at once, from the first certificates to the last recovery."""

    def __init__(self, folder, authority, stack):
        self.seen = {case.name: Seen(case) for case in CASES}
        close = contextlib.closing
        dns = stack.enter_context(close(Challtestsrv(folder)))
        https, http = free_port(), free_port()
        self.ca = stack.enter_context(close(Pebble(
            folder / "pebble", authority, dns.dns, http, https, bad_nonces=0)))
        self.injector = stack.enter_context(close(FaultInjector(authority, self.ca)))
        self.proxies = {case.name: stack.enter_context(close(ConnectProxy(case.proxy)))
                        for case in CASES if case.proxy or case.name.startswith("ca52")}
        self.tls = tls_faults(folder, authority)
        self.front = stack.enter_context(close(Mdfront(
            folder / "mdfront",
            [{"hosts": [case.domain], "backend": "127.0.0.1:9"} for case in CASES],
            https=https, http=http, start=False,
            md={"certificate_agreement": "accepted", "contact_email": "ops@example.test",
                "ca_certificate_file": str(authority.root),
                "retry_delay": "4s",  # an error has to be seen before it is mended
                "retry_failover": 2, "private_keys": ["P-256"],
                "check_interval": "1h"})))
        self.failure = ""

    def run(self):
        """Told in each case, but tried only once."""
        try:
            self._issue()
            self._renew_under_faults()
            self._mend_settings()
        except (AssertionError, OSError, Closed) as error:
            self.failure = f"{error}"

    def during(self, seen, endpoint=None):
        """Requests of the case since its fault was there."""
        return [one for one in self.injector.asked(seen.case.name, endpoint)
                if one.when > seen.armed_at]

    def _write_config(self, phase):
        domains = []
        for case in CASES:
            settings = dict(case.settings)
            urls = [self.injector.directory(case.name)]
            if second := settings.pop("second", None):
                urls.append(self.injector.directory(second))
            domain = {"names": [case.domain], "certificate_authority": urls}
            is_stuck = case.kind in ("lasting", "waiting")
            if phase == 2 or phase == 3 and is_stuck:
                domain["renew_window"] = "100d"  # due at once
            if phase == 2:
                domain.update(settings)
            if phase >= 2 and case.name in self.proxies:
                domain["http_proxy"] = f"http://127.0.0.1:{self.proxies[case.name].port}"
            domains.append(domain)
        self.front.document["md"]["domain"] = domains
        self.front.write_config()

    def _status(self):
        return {domain["name"].removesuffix(".test"): domain
                for domain in self.front.status()["managed-domains"]}

    def _serial(self, case):
        with Client(("127.0.0.1", self.front.https), tls=case.domain,
                    context=tls_context()) as client:
            return x509.load_der_x509_certificate(
                client.socket.getpeercert(binary_form=True)).serial_number

    def _lift(self, case):
        if "second" not in case.settings and all(rule.times is None for rule in case.rules):
            self.injector.lift(case.name)
        if case.name in self.proxies:
            self.proxies[case.name].fault = None

    def _issue(self):
        for case in CASES:
            if case.kind == "first":
                self.injector.arm(case.name, *case.rules)
        self._write_config(1)
        self.front.start()
        wait_until(lambda: all(domain["state"] == 2 and not domain.get("renewal")
                               for domain in self._status().values()),
                   "all domains have certificates", 180, every=0.2)
        status = self._status()
        for name, seen in self.seen.items():
            seen.before = int(status[name]["cert"]["P-256"]["serial"], 16)
            # What is told of is served a moment later.
            wait_until(lambda: self._serial(seen.case) == seen.before, f"{name} is served")

    def _forget_account(self, case):
        """Pebble uses one authorization in a hundred again though it is told to use none; a new
        account has none."""
        document = json.loads((self.front.store / f"domains/{case.name}.test/md.json").read_text())
        shutil.rmtree(self.front.store / "accounts" / document["ca"]["account"])

    def _renew_under_faults(self):
        self.front.stop()
        for seen in self.seen.values():
            case = seen.case
            if any(rule.endpoint in ("authorization", "challenge") for rule in case.rules):
                self._forget_account(case)
            seen.armed_at = time.monotonic()
            if case.kind != "first":
                self.injector.arm(case.name, *case.rules)
            if case.tls:
                self.injector.break_tls(case.name, self.tls[case.tls])
        self._write_config(2)
        self.front.start()
        deadline = time.monotonic() + 180
        open_cases = dict(self.seen)
        while open_cases and time.monotonic() < deadline:
            self._look(open_cases)
            for name, seen in list(open_cases.items()):
                if seen.after or seen.job and seen.case.kind in ("lasting", "waiting"):
                    del open_cases[name]
            time.sleep(0.05)

    def _look(self, open_cases):
        """An error that passes by itself is there for two seconds at least: what takes time comes
        after all of them were taken down."""
        failed = []
        status = self._status()
        for name, seen in open_cases.items():
            job = status[name].get("renewal", {})
            serial = int(status[name]["cert"]["P-256"]["serial"], 16)
            if job.get("errors") and not seen.job:
                seen.job, seen.meanwhile = job, serial
                failed.append(seen)
            elif serial != seen.before and not job.get("errors"):
                seen.after = self._serial(seen.case)
        page = self.front.get_admin("/").body.decode() if failed else ""
        for seen in failed:
            seen.page = page
            if seen.case.kind in ("lasting", "waiting"):
                seen.meanwhile = self._serial(seen.case)
            self._lift(seen.case)

    def _mend_settings(self):
        """Somebody changes a setting, and starts anew: what waited for that goes on."""
        self.front.stop()
        self.front.document["md"]["contact_email"] = "others@example.test"
        stuck = [seen for seen in self.seen.values() if seen.case.kind in ("lasting", "waiting")]
        for seen in stuck:
            seen.asked_at_restart = len(self.injector.asked(seen.case.name))
        self._write_config(3)
        self.front.start()
        lasting = [seen for seen in stuck if seen.case.kind == "lasting"]
        deadline = time.monotonic() + 60
        while any(not seen.after for seen in lasting) and time.monotonic() < deadline:
            self._look({seen.case.name: seen for seen in lasting if not seen.after})
            time.sleep(0.05)
        for seen in stuck:
            seen.asked_after_restart = len(self.injector.asked(seen.case.name))


def tls_faults(folder, authority):
    """What a CA's TLS may be like."""
    def context(issuer, *names, **options):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        files = issuer.issue(*names, **options)
        made.load_cert_chain(files.chain, files.key)
        return made

    old = context(authority, "*.ca.localhost")
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is old is the point
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1
    return {"cut": None, "TLS 1.0": old,
            "expired": context(authority, "*.ca.localhost", days=-1, age=48 * HOUR),
            "other name": context(authority, "ca.example.test"),
            "unknown issuer": context(Authority(folder / "unknown"), "*.ca.localhost")}


@pytest.fixture(scope="module")
def trial(tmp_path_factory, authority):
    with contextlib.ExitStack() as stack:
        made = Trial(tmp_path_factory.mktemp("faults"), authority, stack)
        made.run()
        yield made


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_fault_of_the_ca(trial, case):
    assert not trial.failure
    seen = trial.seen[case.name]
    log = [line for line in trial.front.log.splitlines() if case.domain in line]
    failures = [line for line in log if "renewal failed" in line]
    if case.kind in ("passes", "first"):
        assert len(failures) == (1 if case.kind == "first" else 0), failures
    else:
        assert seen.job, "\n".join(log)
        assert seen.meanwhile == seen.before
        for text in case.says:
            assert text in json.dumps(seen.job["last"]), seen.job
    if case.kind == "waiting":
        assert seen.asked_after_restart == seen.asked_at_restart
    else:
        assert seen.after not in (None, seen.before), log
    if case.check:
        case.check(trial, seen)


@pytest.mark.long
def test_nothing_is_left_of_the_faults(trial):
    assert not trial.failure
    # That a domain is due again at once stands in its job.json.
    left = {path.parent.name for path in (trial.front.store / "staging").glob("*/*")
            if path.name != "job.json"}
    assert left <= {case.domain for case in CASES if case.kind == "waiting"}
    assert not list((trial.front.store / "challenges").iterdir())


# CA-09

def test_a_ca_that_hangs_holds_up_neither_other_cas_domains_nor_the_end(
        acme, backend, started, authority):
    slow = [f"slow{number}.test" for number in range(10)]
    quick = [f"quick{number}.test" for number in range(4)]
    ca, front = acme([{"hosts": [name], "backend": backend.address} for name in slow + quick],
                     start=False)
    injector = started(FaultInjector(authority, ca))
    front.document["md"]["domain"] = [
        {"names": [name], "certificate_authority": [injector.directory("hangs")]}
        for name in slow] + [{"names": [name]} for name in quick]
    front.write_config()
    injector.arm("hangs", Rule("new-order", injector.hang))
    front.start()
    wait_until(lambda: len(injector.asked("hangs", "new-order")) == 4, "half of the threads hang")
    wait_until(lambda: all(front.status(name)["state"] == 2 for name in quick), "the others", 30)
    assert all(front.status(name)["state"] != 2 for name in slow)
    began = time.monotonic()
    assert front.stop() == 0
    assert time.monotonic() - began < 5
    injector.lift("hangs")
    injector.release()
    front.start()
    wait_until(lambda: all(front.status(name)["state"] == 2 for name in slow), "all", 60)
