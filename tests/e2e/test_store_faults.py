"""A store in trouble, with the program that uses it running on it (docs/store-faults.md): what is
served stays served, md-status says what to do, nothing is lost, and it recovers by itself."""
import base64
import contextlib
import json
import os
import shutil
import ssl

from cryptography import x509
import pytest

from harness.mdfront import Mdfront
from harness.pebble import Challtestsrv, Pebble
from harness.ports import free_port
from harness.raw_backend import RawBackend, answer_ok
from harness.waiting import wait_until
from test_acme import managed, shown_certificate, wait_for_certificate

DOMAINS = ("one.test", "two.test")
LIVE = "domains/one.test"


class Kept:
    """A store with two domains whose certificates were renewed once, and the CA that knows them."""

    def __init__(self, folder, authority, close):
        self.folder = folder
        self.https, self.http = free_port(), free_port()
        self.backend = close(RawBackend(answer_ok))
        dns = close(Challtestsrv(folder))
        self.ca = close(Pebble(folder / "pebble", authority, dns.dns, self.http, self.https))
        front = self.front("obtained")
        front.start()
        wait_for_certificate(front, self.ca, *DOMAINS)
        self.archived = self.serial(front)
        # Always due, each is renewed once: then the archive has a pair that is good.
        front.restart(md={"renew_window": "200d"})
        wait_until(lambda: all("next-run" in front.status(name).get("renewal", {})
                               for name in DOMAINS), f"renewals; log:\n{front.log}", 40)
        self.live = self.serial(front)
        assert self.live != self.archived
        assert front.stop() == 0
        self.store = front.store
        shutil.rmtree(self.store / "staging")  # where it waits for the next day
        front.restart(md={"renew_window": "33%"})
        for name in DOMAINS:
            wait_until(lambda: (self.store / f"domains/{name}/ari.json").exists(), "a look")
        assert front.stop() == 0

    def serial(self, front, name="one.test"):
        return shown_certificate(front, name).serial_number

    def is_good(self, front, name="one.test"):
        """Whether a client that verifies gets an answer of the site."""
        try:
            return front.get(host=name, roots=self.ca.root).status == 200
        except (ssl.SSLError, OSError):
            return False

    def front(self, label, hosts=("one.test",), md=None, **options):
        return Mdfront(
            self.folder / label, [managed(self.backend, *hosts), managed(self.backend, "two.test")],
            md={"certificate_authority": [self.ca.directory], "certificate_agreement": "accepted",
                "contact_email": "ops@example.test", "ca_certificate_file": str(self.ca.trust),
                "retry_delay": "1s", "check_interval": "1s", "private_keys": ["P-256"],
                **(md or {})},
            https=self.https, http=self.http, start=False, **options)


@pytest.fixture(scope="module")
def kept(tmp_path_factory, authority):
    with contextlib.ExitStack() as stack:
        yield Kept(tmp_path_factory.mktemp("kept"), authority,
                   lambda thing: stack.callback(thing.close) and thing)


@pytest.fixture
def on_copy(kept, started, tmp_path):
    """on_copy(damage) gives mdfront on a copy of the store after damage(store). With `idle` its
    engine only serves what it finds."""

    def make(damage=None, idle=True, start=True, **options):
        front = kept.front(tmp_path.name, md={"initial_delay": "1h"} if idle else {}, **options)
        started(front)
        shutil.copytree(kept.store, front.store)
        if damage:
            damage(front.store)
        if start:
            front.start()
        return front

    return make


def wake(front, **changes):
    """Starts it again with an engine that works."""
    front.restart(md={"initial_delay": None}, **changes)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")
            if path.is_file()}


def spoil(path, how):
    data = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes({"empty": b"", "truncated": data[:len(data) * 2 // 3],
                          "garbage": bytes(range(256)) * 8, "NUL": bytes(len(data))}[how])


HOW = ["missing", "empty", "truncated", "garbage", "NUL"]


@pytest.mark.core
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("file", ["pubcert.p-256.pem", "privkey.p-256.pem"])
def test_a_damaged_pair_is_stood_in_for_and_renewed(kept, on_copy, file, how):
    front = on_copy(lambda store: spoil(store / LIVE / file, how))
    damage = contents(front.store / LIVE).get(file)
    # The pair before it is served from the archive, the other domain as ever.
    assert kept.is_good(front) and kept.serial(front) == kept.archived
    state = front.status("one.test")
    assert state["state"] == 1 and file in state["state-descr"], state
    assert front.status("two.test")["state"] == 2
    assert contents(front.store / LIVE).get(file) == damage
    wake(front)
    wait_until(lambda: front.status("one.test")["state"] == 2, f"renewed; log:\n{front.log}", 30)
    wait_until(lambda: kept.is_good(front), "served")
    assert kept.serial(front) not in (kept.archived, kept.live)
    # What was damaged lies in the archive, as it was.
    if damage is not None:
        assert damage in [path.read_bytes() for path in
                          (front.store / "archive").glob(f"one.test.*/{file}")]


@pytest.mark.core
def test_the_key_of_another_certificate_is_stood_in_for_and_renewed(kept, on_copy):
    def exchange(store):
        shutil.copy(store / "domains/two.test/privkey.p-256.pem", store / LIVE)

    front = on_copy(exchange)
    assert kept.is_good(front) and kept.serial(front) == kept.archived
    assert kept.is_good(front, "two.test")
    wake(front)
    wait_until(lambda: front.status("one.test")["state"] == 2, f"renewed; log:\n{front.log}", 30)
    wait_until(lambda: kept.serial(front) not in (kept.archived, kept.live), "served")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("file", ["md.json", "job.json", "ari.json"])
def test_a_damaged_record_of_a_domain_costs_nothing(kept, on_copy, file, how):
    front = on_copy(lambda store: spoil(store / LIVE / file, how), idle=False)
    assert kept.is_good(front) and kept.serial(front) == kept.live
    state = front.status("one.test")
    assert (state["state"], state["domains"]) == (2, ["one.test"])
    if how != "missing" and file != "ari.json":  # that is only the CA's advice, asked for again
        aside = list((front.store / LIVE).glob(f"{file}.bad-*"))
        assert len(aside) == 1, front.log
        front.process.wait_for_log(f"{LIVE}/{file} is set aside")
    assert json.loads((front.store / LIVE / "md.json").read_text())["domains"] == ["one.test"]
    assert "renewal" not in state


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("file", ["account.json", "account.pem"])
def test_a_damaged_account_is_passed_over_and_kept(kept, on_copy, file, how):
    account, = [path.name for path in (kept.store / "accounts").glob("ACME-*")]

    front = on_copy(lambda store: spoil(store / "accounts" / account / file, how))
    before = contents(front.store / "accounts" / account)
    assert kept.is_good(front) and kept.serial(front) == kept.live
    # The next order needs one.
    wake(front, sites=[managed(kept.backend, "one.test", "new.test"),
                       managed(kept.backend, "two.test")])
    wait_for_certificate(front, kept.ca, "new.test")
    wait_until(lambda: front.status("one.test")["state"] == 2, "complete")
    assert front.status("one.test")["ca"]["account"] != account or how == "missing"
    after = contents(front.store / "accounts" / account)
    assert {name: after.get(name) for name in before} == before or how == "missing"


@pytest.mark.core
@pytest.mark.parametrize("how", HOW[1:])
def test_a_store_whose_secret_is_damaged_is_refused_with_the_way_out(kept, on_copy, how):
    front = on_copy(lambda store: spoil(store / "md_store.json", how), start=False)
    before = contents(front.store)
    with pytest.raises(AssertionError, match="ended with 1"):
        front.start()
    front.process = None
    assert "md_store.json" in front.log and "backup" in front.log
    assert contents(front.store) == before
    shutil.copy(kept.store / "md_store.json", front.store)  # as it says
    front.start()
    assert kept.is_good(front)


@pytest.mark.core
@pytest.mark.parametrize("how", ["missing", "exchanged"])
def test_another_secret_costs_the_account_and_nothing_that_is_served(kept, on_copy, how):
    def change(store):
        path = store / "md_store.json"
        value = json.loads(path.read_text())
        path.unlink()
        if how == "exchanged":
            value["key"] = base64.urlsafe_b64encode(os.urandom(48)).decode()
            path.write_text(json.dumps(value))

    front = on_copy(change)
    accounts = contents(front.store / "accounts")
    assert kept.is_good(front) and kept.serial(front) == kept.live
    if how == "missing":
        front.process.wait_for_log("md_store.json is missing and made anew")
    wake(front, sites=[managed(kept.backend, "one.test", "new.test"),
                       managed(kept.backend, "two.test")])
    wait_for_certificate(front, kept.ca, "new.test")
    assert "md_store.json" in front.log.split("renewal begins")[1]  # why the account is not used
    after = contents(front.store / "accounts")
    assert len(after) > len(accounts)
    assert {name: after[name] for name in accounts} == accounts


@pytest.mark.core
def test_a_store_on_a_read_only_file_system_is_served_and_told_of(kept, on_copy):
    front = on_copy(idle=False, start=False)
    before = contents(front.store)
    front.mounts = (f"mount --bind '{front.store}' '{front.store}'\n"
                    f"mount -o remount,bind,ro '{front.store}'")
    front.document["site"][0]["hosts"].append("new.test")
    front.write_config()
    front.start()
    assert kept.is_good(front) and kept.serial(front) == kept.live
    wait_until(lambda: front.status("one.test").get("renewal", {}).get("errors", 0) >= 2,
               f"failures; log:\n{front.log}")
    last = front.status("one.test")["renewal"]["last"]
    assert last["status-description"] == "Read-only file system"
    assert "writable" in last["detail"] and str(front.store) in last["detail"]
    assert kept.is_good(front, "two.test") and contents(front.store) == before
    # Writable again, as after a restart, it goes on.
    assert front.stop() == 0
    front.mounts = None
    front.start()
    wait_for_certificate(front, kept.ca, "new.test")


@pytest.mark.core
def test_a_full_disk_is_told_of_and_gone_on_with_when_there_is_room(kept, on_copy):
    front = on_copy(idle=False, start=False)
    copied = front.folder / "copied"
    front.store.rename(copied)
    front.store.mkdir(mode=0o700)
    # Its own disk of 400 KiB, full but for a page.
    front.mounts = (f"mount -t tmpfs -o size=400k,mode=700 tmpfs '{front.store}'\n"
                    f"cp -a '{copied}'/. '{front.store}'\n"
                    f"dd if=/dev/zero of='{front.store}/filler' bs=4k 2>/dev/null || true")
    front.document["site"][0]["hosts"].append("new.test")
    front.write_config()
    front.start()
    inside = front.folder.__class__(f"/proc/{front.process.pid}/root{front.store}")
    assert (inside / "filler").stat().st_size > 0
    assert kept.is_good(front) and kept.serial(front) == kept.live
    wait_until(lambda: front.status("one.test").get("renewal", {}).get("errors", 0) >= 2,
               f"failures; log:\n{front.log}")
    last = front.status("one.test")["renewal"]["last"]
    assert last["status-description"] == "No space left on device"
    assert "free space" in last["detail"] and str(front.store) in last["detail"]
    assert kept.is_good(front) and kept.serial(front) == kept.live
    assert not list(inside.rglob(".tmp.*"))  # no half file is left
    (inside / "filler").unlink()
    wait_until(lambda: front.status("one.test")["state"] == 2, f"renewed; log:\n{front.log}", 40)
    wait_for_certificate(front, kept.ca, "new.test")


def test_files_that_cannot_be_read_are_read_when_they_can(kept, on_copy):
    # A link in the place of the file: not followed, as a file of another user's would not be read.
    def link(store):
        path = store / LIVE / "pubcert.p-256.pem"
        path.rename(store / "elsewhere.pem")
        path.symlink_to(store / "elsewhere.pem")

    front = on_copy(link, idle=False)
    assert kept.is_good(front) and kept.serial(front) == kept.archived
    state = front.status("one.test")
    assert state["state"] == 4 and "symbolic link" in state["state-descr"]
    assert kept.is_good(front, "two.test")
    assert (front.store / "elsewhere.pem").exists()  # nothing renews over it
    (front.store / LIVE / "pubcert.p-256.pem").unlink()
    (front.store / "elsewhere.pem").rename(front.store / LIVE / "pubcert.p-256.pem")
    wait_until(lambda: front.status("one.test")["state"] == 2, f"read; log:\n{front.log}")
    assert kept.is_good(front) and kept.serial(front) == kept.live


@pytest.mark.parametrize("what", ["domains", "staging", "accounts", "challenges", "all"])
def test_what_is_deleted_while_it_runs_is_made_again(kept, on_copy, what):
    front = on_copy(idle=False)
    wait_until(lambda: "renewal" not in front.status("one.test"), "a look")
    for path in front.store.iterdir():
        if path.is_dir() and what in (path.name, "all"):
            shutil.rmtree(path)
    # What is served is in memory.
    for name in DOMAINS:
        assert kept.is_good(front, name)
    assert front.status("one.test")["state"] == 2
    front.restart(sites=[managed(kept.backend, "one.test", "new.test"),
                         managed(kept.backend, "two.test")])
    wait_for_certificate(front, kept.ca, "new.test", "two.test")
    assert (front.store / LIVE / "md.json").exists()


def test_a_store_that_is_deleted_as_a_whole_is_told_of_and_made_at_the_next_start(kept, on_copy):
    front = on_copy(idle=False, start=False)
    front.document["site"][0]["hosts"].append("new.test")
    front.document["md"]["certificate_authority"] = [f"https://localhost:{free_port()}/dir"]
    front.write_config()
    front.start()
    wait_until(lambda: front.status("one.test").get("renewal", {}).get("errors", 0) >= 1, "a try")
    while front.store.exists():  # it may write into it at the same time
        shutil.rmtree(front.store, ignore_errors=True)
    wait_until(lambda: "was deleted" in front.status("one.test")["renewal"]["last"]["detail"],
               f"it is told; log:\n{front.log}", 30)
    detail = front.status("one.test")["renewal"]["last"]["detail"]
    assert "restart mdfront" in detail and str(front.store) in detail
    for name in DOMAINS:
        assert kept.is_good(front, name)
    front.restart(md={"certificate_authority": [kept.ca.directory]})
    wait_for_certificate(front, kept.ca, "new.test", "two.test")


def test_a_restored_backup_is_taken_for_what_it_is(kept, on_copy):
    # The set before, as an old backup has it: it is good, and served on.
    def restore(store):
        newest = max((store / "archive").glob("one.test.*"),
                     key=lambda path: int(path.name.rsplit(".", 1)[1]))
        shutil.rmtree(store / LIVE)
        shutil.copytree(newest, store / LIVE)

    front = on_copy(restore, idle=False)
    assert kept.is_good(front) and kept.serial(front) == kept.archived
    leaf = x509.load_pem_x509_certificate((front.store / LIVE / "pubcert.p-256.pem").read_bytes())
    assert leaf.serial_number == kept.archived
    assert front.status("one.test")["state"] == 2
    # Out of its window by the configuration, it is renewed.
    front.restart(md={"renew_window": "200d"})
    wait_until(lambda: kept.serial(front) != kept.archived, f"renewed; log:\n{front.log}", 30)


def test_strangers_in_the_store_are_left_alone(kept, on_copy):
    def litter(store):
        (store / "httpd.json").write_text("not json")  # mod_md's own (300_030)
        (store / "domains/README").write_text("a stray file")  # 310_501
        (store / "domains/.hidden").mkdir()
        (store / "lost+found").mkdir()

    front = on_copy(litter, idle=False)
    assert kept.is_good(front) and kept.serial(front) == kept.live
    assert [domain["name"] for domain in front.status()["managed-domains"]] == sorted(DOMAINS)
    assert front.stop() == 0
    assert (front.store / "httpd.json").read_text() == "not json"
    assert (front.store / "domains/README").exists() and (front.store / "lost+found").exists()
