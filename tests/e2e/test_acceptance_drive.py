"""mod_md's acceptance list (docs/acceptance.md): how certificates are obtained, kept and renewed,
with a real CA."""
import base64
import json
import stat

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
import pytest

from harness.connect_proxy import ConnectProxy
from harness.http1 import Client, tls_context
from harness.ports import free_port
from harness.waiting import wait_until
from test_acme import (alternative_names, is_verified, managed, shown_certificate,
                       wait_for_certificate)


def site(backend, *hosts, **keys):
    return {"hosts": list(hosts), "backend": backend.address, **keys}


def renewal(front, name):
    return front.status(name).get("renewal", {})


def wait_for_failure(front, name, errors=1, timeout=30):
    """Until the domain has failed so often; gives its last problem."""
    wait_until(lambda: renewal(front, name).get("errors", 0) >= errors,
               f"{errors} failure(s) of {name}; log:\n{front.log}", timeout)
    return renewal(front, name)["last"]


def serial(front, name):
    return shown_certificate(front, name).serial_number


def stored_json(front, path):
    return json.loads((front.store / path).read_text())


def accounts(front):
    return sorted(path.name for path in (front.store / "accounts").glob("ACME-*"))


@pytest.fixture
def connect_proxy(started):
    return started(ConnectProxy())


@pytest.mark.core
def test_a_drive_leaves_credentials_account_archive_and_nothing_else(acme, backend):
    ca, front = acme([managed(backend, "one.test")], md={"contact_email": "ops@one.test"})
    wait_for_certificate(front, ca, "one.test")
    wait_until(lambda: "renewal" not in front.status("one.test"), "the end of the job")
    # The account: its key encrypted with the store's secret, its contact as the CA was told.
    (account,) = accounts(front)
    described = stored_json(front, f"accounts/{account}/account.json")
    assert described["contact"] == ["mailto:ops@one.test"]
    assert described["status"] == "valid" and described["ca-url"] == ca.directory
    encrypted = (front.store / f"accounts/{account}/account.pem").read_bytes()
    assert encrypted.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    secret = base64.urlsafe_b64decode(stored_json(front, "md_store.json")["key"])
    assert load_pem_private_key(encrypted, secret)
    assert front.status("one.test")["ca"]["account"] == account
    # Nothing of the attempt stays, and nothing is readable for others.
    for group in ("staging", "challenges", "tmp"):
        assert not list((front.store / group).glob("*")), group
    for path in front.store.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), f"{path}: {mode:o}"
    before = stored_json(front, "domains/one.test/md.json")
    archived = len(list((front.store / "archive").glob("one.test.*")))
    # One name more: a new certificate, and the set before it is in the archive.
    front.restart(sites=[managed(backend, "one.test", "two.test")])
    wait_for_certificate(front, ca, "two.test")
    newest = stored_json(front, f"archive/one.test.{archived + 1}/md.json")
    assert newest["ca"] == before["ca"] and newest["domains"] == ["one.test", "two.test"]
    assert accounts(front) == [account]


@pytest.mark.core
def test_a_second_start_orders_nothing_and_changed_names_follow_mod_mds_rules(acme, backend):
    ca, front = acme([managed(backend, "one.test", "two.test", "three.test")])
    wait_for_certificate(front, ca, "one.test")
    first, orders = serial(front, "one.test"), ca.orders()

    def restarted(*hosts, **md):
        front.restart(sites=[managed(backend, *hosts)], md=md)
        wait_until(lambda: front.status()["managed-domains"], "a status")
        return front.status(hosts[0])

    assert restarted("one.test", "two.test", "three.test")["state"] == 2
    # A name less, another contact, another CA: what is there is kept.
    assert restarted("one.test", "two.test", contact_email="other@one.test")["state"] == 2
    assert front.status("one.test")["contacts"] == ["mailto:other@one.test"]
    # The first name goes, or another one becomes it: the same certificate under the new name.
    assert restarted("two.test", "one.test")["name"] == "two.test"
    state = restarted("two.test", "three.test")
    assert state["state"] == 2 and serial(front, "two.test") == first
    assert not (front.store / "domains/one.test").exists()
    assert ca.orders() == orders
    # One goes and one comes: a new certificate, and until then the old one.
    front.restart(sites=[managed(backend, "two.test", "four.test")])
    wait_for_certificate(front, ca, "four.test")
    assert alternative_names(shown_certificate(front, "two.test")) == ["four.test", "two.test"]
    assert ca.orders() == orders + 1


def test_domains_that_become_one_keep_a_certificate_until_they_have_a_common_one(acme, backend):
    ca, front = acme([managed(backend, "one.test"), managed(backend, "two.test")])
    wait_for_certificate(front, ca, "one.test", "two.test")
    assert len(accounts(front)) == 1  # shared, though both began at once
    first = serial(front, "one.test")
    assert serial(front, "two.test") != first
    ca.close()
    front.restart(sites=[managed(backend, "one.test", "two.test")])
    assert serial(front, "one.test") == first
    ca.start()
    wait_for_certificate(front, ca, "two.test")
    wait_until(lambda: serial(front, "one.test") == serial(front, "two.test"), "one for both")
    # It is of the CA's second life, whose first accounts are forgotten.
    assert front.status("one.test")["state"] == 2


def test_one_domain_serves_several_sites_with_one_certificate(acme, backend):
    ca, front = acme([site(backend, "one.test"), site(backend, "two.test", "alias.test")],
                     domains=[{"names": ["one.test", "two.test"]}])
    # The second site's other host becomes a member.
    wait_for_certificate(front, ca, "one.test", "two.test", "alias.test")
    assert front.status("one.test")["domains"] == ["one.test", "two.test", "alias.test"]
    assert len({serial(front, name) for name in ("one.test", "two.test", "alias.test")}) == 1


@pytest.mark.core
def test_a_domain_without_a_site_is_left_alone_until_one_uses_it(acme, backend):
    domain = [{"names": ["unused.test"]}]
    ca, front = acme([managed(backend, "used.test")], domains=domain)
    wait_for_certificate(front, ca, "used.test")
    state = front.status("unused.test")
    assert (state["state"], state["watched"]) == (1, False) and "renewal" not in state
    front.restart(sites=[managed(backend, "used.test"), site(backend, "unused.test")],
                  domains=domain)
    wait_for_certificate(front, ca, "unused.test")
    wait_until(lambda: not list((front.store / "challenges").glob("*")), "tidied up")


def test_renew_mode_always_renews_what_no_site_uses(acme, backend):
    ca, front = acme([managed(backend, "used.test")],
                     domains=[{"names": ["unused.test"], "renew_mode": "always"}])
    wait_until(lambda: front.status("unused.test")["state"] == 2, f"it; log:\n{front.log}", 30)
    assert (front.store / "domains/unused.test/pubcert.p-256.pem").exists()
    assert front.status("unused.test")["renew-mode"] == 2


@pytest.mark.core
def test_manual_sites_get_503_over_the_same_fallback_over_restarts(acme, backend):
    ca, front = acme([site(backend, "one.test"), site(backend, "two.test")],
                     domains=[{"names": ["one.test", "two.test"]}], md={"renew_mode": "manual"})
    fallback = serial(front, "one.test")
    for _ in range(2):
        for name in ("one.test", "two.test"):
            assert front.get(host=name).status == 503
            assert serial(front, name) == fallback
        front.restart()
    assert ca.orders() == 0


@pytest.mark.core
def test_names_of_all_lengths_and_depths_are_certified(acme, backend):
    long = "a" * 58 + ".one.test"  # more than a CN can have
    names = [[long], [long.replace("a", "b"), "short.test"], ["a.b.two.test", "x.a.b.c.two.test"],
             ["xn--bcher-kva.test"]]
    ca, front = acme([managed(backend, *hosts) for hosts in names])
    for hosts in names:
        wait_for_certificate(front, ca, *hosts)
        assert alternative_names(shown_certificate(front, hosts[0])) == sorted(hosts)


@pytest.mark.core
def test_keys_are_of_the_kinds_that_are_configured(acme, backend):
    # Each domain has its own, the last one what [md] says.
    kinds = {"rsa.test": ["RSA"], "rsa3.test": ["RSA 3072"], "p384.test": ["P-384"],
             "both.test": ["P-256", "RSA 2048"], "turned.test": ["rsa3072", "secp384r1"],
             "three.test": ["P-256", "P-384", "RSA"]}
    ca, front = acme([site(backend, name) for name in (*kinds, "inherits.test")],
                     domains=[*({"names": [name], "private_keys": keys}
                                for name, keys in kinds.items()), {"names": ["inherits.test"]}])
    kinds["inherits.test"] = ["P-256"]
    files = {"RSA": ("", 2048), "RSA 2048": ("", 2048), "RSA 3072": ("", 3072),
             "rsa3072": ("", 3072), "P-256": (".p-256", 256), "P-384": (".p-384", 384),
             "secp384r1": (".secp384r1", 384)}
    for name, keys in kinds.items():
        wait_for_certificate(front, ca, name)
        folder = front.store / f"domains/{name}"
        assert len(list(folder.glob("pubcert*.pem"))) == len(keys)
        for key in keys:
            suffix, size = files[key]
            leaf = x509.load_pem_x509_certificate(
                (folder / f"pubcert{suffix}.pem").read_bytes())
            kind = rsa.RSAPublicKey if suffix == "" else ec.EllipticCurvePublicKey
            assert isinstance(leaf.public_key(), kind) and leaf.public_key().key_size == size
        shown = {"rsa" if files[key][0] == "" else key for key in keys}
        assert set(front.status(name)["cert"]) == shown | {"valid"}
    bits = stored_json(front, "domains/rsa.test/md.json")["privkey"]
    assert bits == {"type": "RSA", "bits": 2048}  # filled in, as mod_md does
    # A key more: the certificate that is there goes on being served until both are.
    old = serial(front, "p384.test")
    ca.close()
    front.restart(domains=[{"names": [name], **({"private_keys": ["P-384", "RSA"]}
                                                if name == "p384.test" else
                                                {"private_keys": keys})}
                           for name, keys in kinds.items()])
    assert serial(front, "p384.test") == old
    assert front.status("p384.test")["state"] == 1
    ca.start()
    wait_until(lambda: front.status("p384.test")["state"] == 2, f"both; log:\n{front.log}", 30)
    assert set(front.status("p384.test")["cert"]) == {"P-384", "rsa", "valid"}


@pytest.mark.core
@pytest.mark.parametrize("keys", [["Default"], ["RSA 4096"], ["secp384r1"], ["secp384r1", "RSA"]])
def test_tls_alpn_01_works_whatever_the_domains_keys_are(acme, backend, keys):
    ca, front = acme([managed(backend, "one.test")],
                     md={"private_keys": keys, "ca_challenges": ["tls-alpn-01"]})
    wait_for_certificate(front, ca, "one.test")
    assert front.status("one.test")["proto"]["acme-tls/1"] == ["one.test"]


def test_http_01_steps_in_where_port_443_does_not_arrive(acme, backend):
    ca, front = acme([managed(backend, "one.test")], start=False)
    front.document["md"]["port_map"][1] = "443:-"
    front.restart()
    wait_for_certificate(front, ca, "one.test")
    assert "http-01 is set up for one.test" in front.log and "tls-alpn-01 is" not in front.log


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_a_name_without_a_site_is_validated_with_its_domain(acme, backend, challenge):
    ca, front = acme([site(backend, "one.test")], md={"ca_challenges": [challenge]},
                     domains=[{"names": ["one.test", "elsewhere.test"]}])
    wait_for_certificate(front, ca, "one.test")
    assert alternative_names(shown_certificate(front, "one.test")) == [
        "elsewhere.test", "one.test"]


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_the_default_site_is_managed_with_base_server(acme, backend, challenge):
    ca, front = acme([site(backend, "base.test", default=True)],
                     md={"base_server": True, "ca_challenges": [challenge]},
                     domains=[{"names": ["base.test"]}])
    wait_for_certificate(front, ca, "base.test")
    with front.connect("unknown.test") as client:  # it is what unknown names get, too
        der = client.socket.getpeercert(binary_form=True)
    assert alternative_names(x509.load_der_x509_certificate(der)) == ["base.test"]


def test_a_port_where_nobody_listens_fails_and_http_01_then_helps(acme, backend):
    ca, front = acme([managed(backend, "one.test")], md={"ca_challenges": ["tls-alpn-01"]},
                     start=False)
    # The CA knocks at https, and we are told that its connections arrive at another listener.
    spare = free_port()
    front.document["listen"].append({"address": f"127.0.0.1:{spare}", "protocol": "https"})
    front.document["listen"][0]["address"] = f"127.0.0.2:{front.https}"
    front.document["md"]["port_map"] = [f"80:{front.http}", f"443:{spare}"]
    front.restart()
    last = wait_for_failure(front, "one.test", 2)  # and is tried again
    assert "one.test" in json.dumps(last) and last["problem"].startswith("urn:ietf:params:acme:")
    front.restart(md={"ca_challenges": ["http-01"]})
    front.https = spare
    wait_for_certificate(front, ca, "one.test")


@pytest.mark.core
def test_all_requests_to_the_ca_go_through_the_domains_proxy(acme, backend, connect_proxy):
    dead = f"http://127.0.0.1:{free_port()}"
    names = ["inherits.test", "own.test", "dead.test"]
    ca, front = acme([site(backend, name) for name in names],
                     md={"http_proxy": connect_proxy.url},
                     domains=[{"names": ["inherits.test"]}, {"names": ["own.test"]},
                              {"names": ["dead.test"], "http_proxy": dead}])
    wait_for_certificate(front, ca, "inherits.test", "own.test")
    assert set(connect_proxy.targets) == {f"localhost:{ca.port}"}
    last = wait_for_failure(front, "dead.test")
    assert last["status-description"] == "Connection refused" and dead[7:] in last["detail"]
    assert front.get(host="dead.test").status == 503
    # Mended, it succeeds by itself.
    front.restart(domains=[{"names": [name]} for name in names])
    wait_for_certificate(front, ca, "dead.test")


@pytest.mark.parametrize("good", [0, 1, 2])
def test_the_next_ca_of_the_list_is_taken_when_the_first_fails(acme, backend, good):
    ca, front = acme([managed(backend, "one.test")], md={"retry_failover": 1}, start=False)
    dead = [f"https://localhost:{free_port()}/dir" for _ in range(2)]
    urls = [[ca.directory, dead[0]], [dead[0], ca.directory], [*dead, ca.directory]][good]
    front.restart(md={"certificate_authority": urls})
    wait_for_certificate(front, ca, "one.test", timeout=40)
    stored = front.status("one.test")["ca"]
    assert (stored["url"], stored["urls"]) == (ca.directory, urls)


def test_a_ca_that_is_not_there_is_told_as_what_it_is(acme, backend):
    ca, front = acme([managed(backend, "one.test")], pebble={"start": False})
    last = wait_for_failure(front, "one.test")
    assert last["status-description"] == "Connection refused"
    assert f"localhost:{ca.port}" in last["detail"] or "localhost port" in last["detail"]


@pytest.mark.core
def test_a_refused_name_is_told_with_type_detail_and_subproblems(acme, backend):
    ca, front = acme([managed(backend, "blocked.test", "fine.test", "blocked2.test")],
                     pebble={"blocked": ["blocked.test", "blocked2.test"]})
    last = wait_for_failure(front, "blocked.test")
    assert last["problem"] == "urn:ietf:params:acme:error:rejectedIdentifier"
    assert "blocked" in last["detail"]
    # No fast retry: nothing changes before somebody edits the configuration.
    assert "next-run" in renewal(front, "blocked.test")
    assert renewal(front, "blocked.test")["errors"] == 1


@pytest.mark.core
def test_an_account_that_the_ca_does_not_know_or_that_is_spoiled_is_replaced(acme, backend):
    ca, front = acme([managed(backend, "one.test")])
    wait_for_certificate(front, ca, "one.test")
    (account,) = accounts(front)
    described = front.store / f"accounts/{account}/account.json"
    for number, spoil in enumerate(("url", "gone")):
        assert front.stop() == 0
        if spoil == "url":
            value = json.loads(described.read_text())
            value["url"] += "0"
            described.write_text(json.dumps(value))
        else:
            for path in (front.store / "accounts").glob("*/*"):
                path.unlink()
        front.restart(sites=[managed(backend, "one.test", f"new{number}.test")])
        wait_for_certificate(front, ca, f"new{number}.test")
        wait_until(lambda: front.status("one.test")["state"] == 2, "complete")
    valid = [account for account in accounts(front)
             if (front.store / f"accounts/{account}/account.json").exists()]
    assert front.status("one.test")["ca"]["account"] in valid


def test_damaged_staging_and_lying_jobs_are_done_again(acme, backend):
    ca, front = acme([managed(backend, "one.test")])
    wait_for_certificate(front, ca, "one.test")
    wait_until(lambda: "renewal" not in front.status("one.test"), "the end of the job")
    staging = front.store / "staging/one.test"
    for number, job in enumerate((
            {"name": "one.test", "finished": True, "notified": True, "notified-renewed": True},
            {"name": "one.test", "finished": True, "notified": False, "notified-renewed": False})):
        assert front.stop() == 0
        staging.mkdir(parents=True)
        (staging / "job.json").write_text(json.dumps(job))
        if not job["notified"]:  # with files that make no set
            (staging / "md.json").write_text(
                (front.store / "domains/one.test/md.json").read_text())
            (staging / "pubcert.p-256.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")
            (staging / "order.json").write_text('{"url": 7')
        front.restart(sites=[managed(backend, "one.test", f"new{number}.test")])
        wait_for_certificate(front, ca, f"new{number}.test")


def test_a_domain_of_other_challenges_leaves_the_challenge_path_to_others(acme, backend):
    path = "/.well-known/acme-challenge/of-another-client"
    ca, front = acme([managed(backend, "one.test"), managed(backend, "two.test")],
                     md={"ca_challenges": ["tls-alpn-01"], "require_https": "permanent"})
    wait_for_certificate(front, ca, "one.test")
    for target in (path, "/.well-known/acme-challenge/", "/.well-known/acme-challenge"):
        assert front.get_plain(target, host="one.test").status == 200
        assert backend.requests[-1].target == target


def test_every_domain_is_told_of_once_with_the_configured_words(acme, backend, folder):
    told = folder / "told"
    script = folder / "notify"
    script.write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    script.chmod(0o755)
    ca, front = acme([managed(backend, "one.test"), managed(backend, "two.test")],
                     md={"notify_cmd": f"{script} --to 'a b'"})
    wait_for_certificate(front, ca, "one.test", "two.test")
    wait_until(lambda: told.exists() and len(told.read_text().splitlines()) == 2, "two calls")
    assert sorted(told.read_text().splitlines()) == ["--to a b one.test", "--to a b two.test"]
    front.restart()
    wait_until(lambda: front.status("one.test")["state"] == 2, "a status")
    assert is_verified(front, ca, "one.test") and len(told.read_text().splitlines()) == 2


def test_must_staple_makes_a_new_certificate_and_no_storm_if_the_ca_ignores_it(acme, backend):
    ca, front = acme([managed(backend, "one.test")])
    wait_for_certificate(front, ca, "one.test")
    orders, old = ca.orders(), serial(front, "one.test")
    front.restart(md={"must_staple": True, "check_interval": "1s"})
    wait_until(lambda: serial(front, "one.test") != old, f"a new one; log:\n{front.log}", 30)
    assert front.status("one.test")["must-staple"] is True
    # Pebble does not know it: said, and asked for again the next day.
    wait_until(lambda: "next-run" in renewal(front, "one.test"), "rest")
    front.process.wait_for_log("and the CA's certificate has it off")
    state = front.status("one.test")
    assert state["state"] == 1 and "must-staple" in state["state-descr"]
    front.restart()
    wait_until(lambda: front.status("one.test")["state"] == 1, "a status")
    assert ca.orders() == orders + 1
    # Given up, what is there is good.
    front.restart(md={"must_staple": False})
    assert front.status("one.test")["state"] == 2 and ca.orders() == orders + 1


def test_a_renewed_set_that_waits_is_shown_beside_the_one_that_is_served(acme, backend):
    ca, front = acme([managed(backend, "one.test")])
    wait_for_certificate(front, ca, "one.test")
    wait_until(lambda: "renewal" not in front.status("one.test"), "the end of the job")
    served = serial(front, "one.test")
    # Due from the first day on, and held back.
    front.restart(md={"renew_window": "200d", "activation_delay": "1d"})
    waiting = wait_until(lambda: renewal(front, "one.test").get("cert", {}).get("P-256"),
                         f"a staged certificate; log:\n{front.log}", 30)
    assert int(waiting["serial"], 16) != served == serial(front, "one.test")

    def certificate_status():
        with Client(("127.0.0.1", front.https), tls="one.test", context=tls_context()) as client:
            answer = client.exchange(target="/.httpd/certificate-status", host="one.test")
        return json.loads(answer.body)

    # The workers get it a moment after the admin listener has it.
    wait_until(lambda: certificate_status().get("renewal", {}).get("cert"), "it on the site, too")
    status = certificate_status()
    assert int(status["P-256"]["serial"], 16) == served
    assert status["renewal"]["cert"]["P-256"] == {
        key: waiting[key] for key in ("valid", "serial", "sha256-fingerprint")}
    # Shorter patience, and it goes live.
    assert renewal(front, "one.test")["finished"] is True
