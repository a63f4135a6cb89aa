"""One store, two programs: Apache's mod_md and mdfront take it over from each other, both ways,
with a real CA; and locks between processes on one store."""
import base64
import fcntl
import hashlib
import json
import os
import shutil
import ssl
import stat

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
import pytest

from harness.http1 import Client, Closed, tls_context
from harness.mod_md import MODULES, ModMd
from harness.pebble import Pebble
from harness.ports import free_port
from harness.waiting import wait_until

# What is compared between the programs: each name and kind of key, and its place in the store.
SERVED = [("one.test", "RSA", "one.test", ""), ("www.one.test", "RSA", "one.test", ""),
          ("two.test", "RSA", "two.test", ""), ("two.test", "EC", "two.test", ".p-256")]
NAMES_MORE = ("www.one.test", "new.one.test")  # one.test's, so that it has to be renewed


def shown(server, name, kind="RSA"):
    """SHA-256 of the certificate that a client with this kind of key alone is shown."""
    suite = "RSA" if kind == "RSA" else "ECDSA"
    context = tls_context(versions=(ssl.TLSVersion.TLSv1_2,) * 2,
                          ciphers=f"ECDHE-{suite}-AES128-GCM-SHA256")
    with Client(("127.0.0.1", server.https), tls=name, context=context) as client:
        return hashlib.sha256(client.socket.getpeercert(binary_form=True)).hexdigest()


def stored(store, name, suffix=""):
    """SHA-256 of the leaf in the store."""
    pem = (store / f"domains/{name}/pubcert{suffix}.pem").read_text()
    leaf = pem[:pem.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n"
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf)).hexdigest()


def assert_serves_what_is_stored(server, store):
    for name, kind, domain, suffix in SERVED:
        assert shown(server, name, kind) == stored(store, domain, suffix), (name, kind)


def listing(path):
    """Every path below: type and mode, owner, size of files, and time of the last change."""
    found = {}
    for one in sorted(path.rglob("*")):
        facts = one.lstat()
        found[str(one.relative_to(path))] = (
            stat.filemode(facts.st_mode), facts.st_uid, facts.st_size if one.is_file() else 0,
            facts.st_mtime_ns)
    return found


def contents(path):
    return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*")
            if one.is_file()}


def accounts(store):
    return sorted(one.name for one in (store / "accounts").iterdir())


def is_staged(store, name):
    try:
        return json.loads((store / f"staging/{name}/job.json").read_text())["finished"]
    except (OSError, ValueError):  # mod_md writes while we read
        return False


def made_by(ca):
    """How many orders and how many accounts the CA has made."""
    return ca.orders(), ca.log.count("accounts in memory")


def is_rsa_account(store, account):
    secret = base64.urlsafe_b64decode(json.loads((store / "md_store.json").read_text())["key"])
    key = (store / "accounts" / account / "account.pem").read_bytes()
    return isinstance(load_pem_private_key(key, secret), rsa.RSAPrivateKey)


class Stage:
    """The two domains, the CA, the ports and the store that both programs are started with."""

    def __init__(self, folder, started, ca, https, http, mdfront, backend):
        self.folder = folder
        self.store = folder / "store"
        self.ca = ca
        self._started = started
        self._ports = {"https": https, "http": http}
        self._mdfront = mdfront
        self._backend = backend
        self._count = 0

    def mod_md(self, one=("www.one.test",), more=""):
        self._count += 1
        return self._started(ModMd(
            self.folder / f"mod_md{self._count}", self.store, self.ca, **self._ports, more=more,
            domains={"one.test": (one, []),
                     "two.test": ((), ["MDPrivateKeys P-256 RSA"])}))

    def mdfront(self, one=("www.one.test",), md=None, **options):
        settings = {"store_dir": str(self.store), "certificate_authority": [self.ca.directory],
                    "certificate_agreement": "accepted", "contact_email": "ops@example.test",
                    "ca_certificate_file": str(self.ca.trust), "retry_delay": "1s",
                    "check_interval": "1s", **(md or {})}
        return self._mdfront(
            [{"hosts": list(hosts), "backend": self._backend.address}
             for hosts in (("one.test", *one), ("two.test",))],
            domains=[{"names": ["one.test", *one]},
                     {"names": ["two.test"], "private_keys": ["P-256", "RSA"]}],
            md=settings, **{**self._ports, **options})

    def obtained_by_mod_md(self):
        """mod_md obtains and activates both, and ends."""
        httpd = self.mod_md()
        self.wait_for_staged(httpd)
        httpd.restart()
        wait_until(lambda: self.is_served(httpd), f"activated; its log:\n{httpd.log}")
        assert_serves_what_is_stored(httpd, self.store)
        httpd.close()

    def wait_for_staged(self, httpd):
        for name in ("one.test", "two.test"):
            wait_until(lambda: is_staged(self.store, name),
                       f"mod_md stages {name}; its log:\n{httpd.log}", 60)

    def obtained_by_mdfront(self):
        """mdfront obtains both, and ends."""
        front = self.mdfront(md={"store_locks": True})
        wait_until(lambda: self.is_served(front), f"certificates; log:\n{front.log}", 30)
        self.wait_for_visits(front)
        assert front.stop() == 0

    def wait_for_visits(self, front):
        """Until mdfront has looked at both: then it has asked when to renew."""
        for name in ("one.test", "two.test"):
            wait_until(lambda: (self.store / f"domains/{name}/ari.json").exists(),
                       f"mdfront looks at {name}; log:\n{front.log}")

    def renewed_by_mod_md(self):
        """mod_md obtains one.test with one name more, activates it, and ends."""
        former = stored(self.store, "one.test")
        httpd = self.mod_md(one=NAMES_MORE)
        wait_until(lambda: is_staged(self.store, "one.test"),
                   f"mod_md stages one.test; its log:\n{httpd.log}", 60)
        httpd.restart()
        wait_until(lambda: self.is_served(httpd) and shown(httpd, "new.one.test") != former,
                   f"activated; its log:\n{httpd.log}")
        assert shown(httpd, "new.one.test") == stored(self.store, "one.test")
        httpd.close()
        return httpd

    def is_served(self, server):
        try:
            assert_serves_what_is_stored(server, self.store)
            return True
        except (AssertionError, OSError, Closed):
            return False

    def open_for_httpd(self):
        """As docs/mod_md.md says for the way back."""
        self.store.chmod(0o755)

    def open_accounts_for_httpd(self):
        """Keys in it are encrypted; mod_md has it so itself."""
        for one in (self.store / "accounts", *(self.store / "accounts").rglob("*")):
            one.chmod(0o755 if one.is_dir() else 0o644)


@pytest.fixture
def stage(folder, started, authority, challtestsrv, mdfront, backend):
    for path in (MODULES / "mod_md.so", MODULES / "mod_ssl.so"):
        assert path.exists(), f"{path} is missing: install apache2-bin"
    https, http = free_port(), free_port()
    ca = started(Pebble(folder / "pebble", authority, challtestsrv.dns, http, https))
    return Stage(folder, started, ca, https, http, mdfront, backend)


# mod_md's store to mdfront

@pytest.mark.long
def test_what_mod_md_obtained_is_served_and_nothing_is_ordered(stage):
    stage.obtained_by_mod_md()
    before, made = contents(stage.store), made_by(stage.ca)
    calls = stage.ca.count("order-plz"), stage.ca.count("sign-me-up")
    front = stage.mdfront()
    assert_serves_what_is_stored(front, stage.store)
    stage.wait_for_visits(front)
    for name in ("one.test", "two.test"):
        state = front.status(name)
        assert state["state"] == 2 and "renewal" not in state and "renew" not in state, state
        assert [state["ca"]["account"]] == accounts(stage.store)
    assert front.stop() == 0
    assert made_by(stage.ca) == made
    assert (stage.ca.count("order-plz"), stage.ca.count("sign-me-up")) == calls
    # Ours are added, md.json says what is configured here; all else is as mod_md left it.
    after = contents(stage.store)
    assert set(after) - set(before) == {
        "mdfront.lock", "domains/one.test/ari.json", "domains/two.test/ari.json"}
    stray = {name for name in before if name.startswith("tmp/")}  # mod_md forgets job.json there
    assert set(before) - set(after) == stray == {"tmp/one.test/job.json", "tmp/two.test/job.json"}
    assert {name for name in set(before) & set(after) if before[name] != after[name]} <= {
        "domains/one.test/md.json", "domains/two.test/md.json"}


@pytest.mark.long
def test_a_renewal_uses_mod_mds_rsa_account_on(stage):
    stage.obtained_by_mod_md()
    account, orders = accounts(stage.store), stage.ca.orders()
    assert len(account) == 1 and is_rsa_account(stage.store, account[0])
    key = (stage.store / "accounts" / account[0] / "account.pem").read_bytes()
    former = stored(stage.store, "one.test")
    front = stage.mdfront(one=NAMES_MORE)
    wait_until(lambda: front.status("one.test")["state"] == 2, f"renewed; log:\n{front.log}", 30)
    wait_until(lambda: stage.is_served(front), f"served; log:\n{front.log}")
    assert stored(stage.store, "one.test") != former
    assert shown(front, "new.one.test") == stored(stage.store, "one.test")
    assert accounts(stage.store) == account
    assert (stage.store / "accounts" / account[0] / "account.pem").read_bytes() == key
    assert made_by(stage.ca) == (orders + 1, 1)
    assert sorted(one.name for one in (stage.store / "archive").iterdir()) == [
        "one.test.1", "one.test.2", "two.test.1"]  # mod_md's fallbacks, and its set of one.test


def staged_by_mod_md(stage):
    """Both are ordered by mod_md, which ends without the restart that would activate them."""
    httpd = stage.mod_md()
    stage.wait_for_staged(httpd)
    httpd.close()
    assert accounts(stage.store) == []
    assert not list(stage.store.glob("domains/*/pubcert*.pem"))


@pytest.mark.long
def test_a_set_that_mod_md_staged_is_activated_and_nothing_is_ordered(stage):
    staged_by_mod_md(stage)
    before, made = contents(stage.store / "staging"), made_by(stage.ca)
    front = stage.mdfront()
    wait_until(lambda: stage.is_served(front), f"served; log:\n{front.log}")
    stage.wait_for_visits(front)
    for name, key, _ in (("one.test", "", 0), ("two.test", "", 0), ("two.test", ".p-256", 0)):
        live = (stage.store / f"domains/{name}/pubcert{key}.pem").read_bytes()
        assert live == before[f"{name}/pubcert{key}.pem"]
    for name in ("one.test", "two.test"):
        wait_until(lambda: "renewal" not in front.status(name), f"told; log:\n{front.log}")
        assert front.status(name)["state"] == 2
    assert front.status("one.test")["ca"]["account"] == "ACME-localhost-0000"
    assert accounts(stage.store) == ["ACME-localhost-0000"]  # mod_md's, staged with one.test
    assert list((stage.store / "staging").iterdir()) == []
    assert made_by(stage.ca) == made == (3, 1)


@pytest.mark.long
def test_a_set_that_mod_md_staged_is_activated_before_the_first_client(stage):
    staged_by_mod_md(stage)
    front = stage.mdfront(md={"initial_delay": "60s"})
    assert_serves_what_is_stored(front, stage.store)


@pytest.mark.long
def test_domains_that_mod_md_staged_together_have_their_common_account(stage):
    staged_by_mod_md(stage)
    assert not (stage.store / "staging/two.test/account.json").exists()
    front = stage.mdfront()
    wait_until(lambda: stage.is_served(front), f"served; log:\n{front.log}")
    assert front.status("two.test")["ca"].get("account") == "ACME-localhost-0000"


# mdfront's store to mod_md

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="not root: httpd's workers have no user of their own")


@pytest.mark.long
def test_what_mdfront_obtained_is_served_by_httpd_and_nothing_is_ordered(stage):
    stage.obtained_by_mdfront()
    made, before = made_by(stage.ca), contents(stage.store)
    for own in ("mdfront.lock", "store.lock", "domains/one.test/ari.json",
                "domains/two.test/ari.json", "domains/one.test/job.json"):
        assert own in before
    stage.open_for_httpd()
    httpd = stage.mod_md(more="MDRenewMode manual\n")
    assert_serves_what_is_stored(httpd, stage.store)
    httpd.close()
    assert json.loads((stage.store / "domains/one.test/md.json").read_text())["renew-mode"] == 0
    httpd = stage.mod_md(more="MDStoreLocks on\n")
    assert_serves_what_is_stored(httpd, stage.store)
    for name in ("one.test", "two.test"):  # looked at and found good, twice
        wait_until(lambda: httpd.log.count(f"md({name}): state=2, driving") >= 2,
                   f"mod_md looks at {name}; its log:\n{httpd.log}")
        assert f"md({name}): no ARI available, up for configured renewal in" in httpd.log
    httpd.close()
    assert made_by(stage.ca) == made
    assert "[md:error]" not in httpd.log and "[md:warn]" not in httpd.log, httpd.log
    # mod_md rewrites md.json (settings that stand for all are not in it), and leaves everything
    # else alone: keys and chains, job.json, our ari.json and both lock files.
    after = contents(stage.store)
    assert {name for name in set(before) | set(after) if before.get(name) != after.get(name)} == {
        "domains/one.test/md.json", "domains/two.test/md.json"}
    # And back again.
    front = stage.mdfront()
    assert_serves_what_is_stored(front, stage.store)
    assert front.status("two.test")["state"] == 2
    assert made_by(stage.ca) == made


@pytest.mark.long
@needs_root
def test_mod_md_puts_an_rsa_account_of_its_own_in_the_place_of_ours(stage):
    # Its workers cannot look into accounts/, so that they register one; at activation it gets the
    # id that md.json names: ours is overwritten.
    stage.obtained_by_mdfront()
    assert accounts(stage.store) == ["ACME-localhost-0000"]
    assert not is_rsa_account(stage.store, "ACME-localhost-0000")
    orders, registered = made_by(stage.ca)
    stage.open_for_httpd()
    stage.renewed_by_mod_md()
    assert made_by(stage.ca) == (orders + 1, registered + 1)
    assert accounts(stage.store) == ["ACME-localhost-0000"]
    assert is_rsa_account(stage.store, "ACME-localhost-0000")
    front = stage.mdfront(one=NAMES_MORE)  # and back: mdfront uses that one
    assert_serves_what_is_stored(front, stage.store)
    for name in ("one.test", "two.test"):
        assert front.status(name)["ca"]["account"] == "ACME-localhost-0000"
    assert made_by(stage.ca) == (orders + 1, registered + 1)


@pytest.mark.long
def test_an_ecdsa_account_that_mod_md_can_read_has_to_be_moved_away(stage):
    # mod_md takes the key for RSA, signs "RS256" with it, is refused, and tries again at once, for
    # ever.
    stage.obtained_by_mdfront()
    made = made_by(stage.ca)
    stage.open_for_httpd()
    stage.open_accounts_for_httpd()
    httpd = stage.mod_md(one=NAMES_MORE)
    httpd.process.wait_for(lambda: stage.ca.count("my-account") > 20, "mod_md asks the CA")
    assert "signature type 'RS256' in JWS header is not supported" in httpd.log
    assert made_by(stage.ca) == made and not is_staged(stage.store, "one.test")
    httpd.close()
    (stage.store / "accounts").rename(stage.folder / "accounts of mdfront")
    stage.renewed_by_mod_md()
    assert made_by(stage.ca) == (made[0] + 1, made[1] + 1)
    assert is_rsa_account(stage.store, accounts(stage.store)[0])


@pytest.mark.long
def test_mod_md_uses_its_account_on_after_mdfront_worked_on_the_store(stage):
    stage.obtained_by_mod_md()
    orders, registered = made_by(stage.ca)
    front = stage.mdfront()
    stage.wait_for_visits(front)
    assert front.stop() == 0
    stage.open_for_httpd()
    stage.renewed_by_mod_md()
    assert made_by(stage.ca) == (orders + 1, registered)
    assert accounts(stage.store) == ["ACME-localhost-0000"]


@pytest.mark.long
def test_mod_md_uses_an_account_on_that_mdfront_took_from_staging_if_it_may_read_it(stage):
    staged_by_mod_md(stage)
    front = stage.mdfront()
    wait_until(lambda: stage.is_served(front), f"served; log:\n{front.log}")
    assert front.stop() == 0
    orders, registered = made_by(stage.ca)
    stage.open_for_httpd()
    stage.open_accounts_for_httpd()  # mdfront has stored it for its own user alone
    stage.renewed_by_mod_md()
    assert made_by(stage.ca) == (orders + 1, registered)
    assert accounts(stage.store) == ["ACME-localhost-0000"]


@pytest.mark.long
def test_what_a_failed_renewal_of_ours_left_in_staging_is_cleared_by_mod_md(stage):
    stage.obtained_by_mdfront()
    stage.ca.close()
    front = stage.mdfront(one=NAMES_MORE)
    wait_until(lambda: front.status("one.test").get("renewal", {}).get("errors", 0) >= 1,
               f"a failure; log:\n{front.log}")
    assert front.stop() == 0
    assert (stage.store / "staging/one.test/job.json").exists()
    stage.ca.start()
    (stage.store / "accounts").rename(stage.folder / "accounts of mdfront")
    stage.open_for_httpd()
    httpd = stage.renewed_by_mod_md()
    assert "previous drive job showed 1 errors, purging STAGING" in httpd.log


@pytest.mark.long
@needs_root
def test_an_order_of_ours_under_way_has_to_be_removed_for_mod_md(stage):
    # httpd's root leaves staging/one.test alone, since it knows of no error; its worker may not
    # write into it.
    stage.obtained_by_mdfront()
    front = stage.mdfront(one=NAMES_MORE)
    front.may_end_badly = True
    order = stage.store / "staging/one.test/order.json"
    wait_until(order.exists, f"an order; log:\n{front.log}", every=0.001)
    front.kill()
    assert order.exists()
    stage.open_for_httpd()
    (stage.store / "accounts").rename(stage.folder / "accounts of mdfront")
    httpd = stage.mod_md(one=NAMES_MORE)
    httpd.process.wait_for(lambda: "Operation not permitted: mk_group_dir" in httpd.log,
                           "mod_md may not write into staging")
    assert_serves_what_is_stored(httpd, stage.store)  # what it has, it serves
    httpd.close()
    shutil.rmtree(order.parent)
    stage.renewed_by_mod_md()


# Locks

@pytest.mark.long
def test_while_another_process_holds_the_stores_lock_nothing_in_domains_changes(stage):
    stage.obtained_by_mdfront()
    orders, registered = made_by(stage.ca)
    before = listing(stage.store / "domains")
    locked = {"store_locks": "2s"}
    with open(stage.store / "store.lock", "r+", encoding="ascii") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a process's record lock, as APR's
        front = stage.mdfront(one=NAMES_MORE, md=locked)
        front.process.wait_for_log("store.lock is locked by another process")
        assert_serves_what_is_stored(front, stage.store)
        # It orders what is missing, and does not install it.
        wait_until(lambda: front.status("one.test").get("renewal", {}).get("errors", 0) >= 1,
                   f"an installation fails; log:\n{front.log}", 30)
        assert "store.lock is locked" in json.dumps(front.status("one.test")["renewal"]["last"])
        assert_serves_what_is_stored(front, stage.store)
        assert front.stop() == 0
        assert listing(stage.store / "domains") == before
        assert made_by(stage.ca) == (orders + 1, registered)
    front = stage.mdfront(one=NAMES_MORE, md=locked)
    wait_until(lambda: front.status("one.test")["state"] == 2, f"installed; log:\n{front.log}", 30)
    assert made_by(stage.ca) == (orders + 1, registered)  # what waited in staging is installed
    wait_until(lambda: shown(front, "new.one.test") == stored(stage.store, "one.test"), "served")


def test_a_second_mdfront_on_a_store_names_the_first_ones_process(stage):
    first = stage.mdfront(md={"renew_mode": "manual"})
    assert "works on this store" not in first.log
    second = stage.mdfront(md={"renew_mode": "manual"}, https=free_port(), http=free_port())
    assert f"another mdfront (process {first.process.pid}) works on this store" in second.log


def test_a_second_mdfront_on_a_store_is_told_of_the_first_and_both_serve(stage):
    first = stage.mdfront(md={"renew_mode": "manual"})
    assert "works on this store" not in first.log
    second = stage.mdfront(md={"renew_mode": "manual"}, https=free_port(), http=free_port())
    assert f"another mdfront (process {first.process.pid}" in second.log
    for front in (first, second):
        assert front.get(host="one.test").status == 503  # no certificate yet
        assert front.stop() == 0
    third = stage.mdfront(md={"renew_mode": "manual"})
    assert "works on this store" not in third.log
