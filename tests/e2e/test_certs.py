"""`mdfront certs`, `accounts` and `store check`: what an administrator types, against a running
mdfront with a real CA, and what the admin listener refuses."""
import json
import os
import pwd
import re
import signal
import subprocess

from cryptography import x509
import pytest

from harness.http1 import Client
from harness.mdfront import BINARY, run_command, run_in_terminal
from harness.mod_md import MODULES, ModMd
from harness.pebble import Pebble
from harness.ports import free_port
from harness.waiting import wait_until


def managed(backend, *hosts, **keys):
    return {"hosts": list(hosts), "backend": backend.address, "managed": True, **keys}


def domain(front, name):
    return json.loads(front.get_admin(f"/domains/{name}.json").body)["domain"]


def wait_until_good(front, *names):
    for name in names:
        wait_until(lambda: domain(front, name)["state"] == "good",
                   f"a certificate for {name}; log:\n{front.log}", 30, every=0.05)


def shown_serial(front, name):
    with front.connect(name) as client:
        certificate = x509.load_der_x509_certificate(client.socket.getpeercert(binary_form=True))
    return f"{certificate.serial_number:X}"


@pytest.fixture
def issued(acme, backend):
    """(pebble, mdfront) with a certificate for one.test, and a socket for commands."""
    def make(*more, **options):
        ca, front = acme([managed(backend, "one.test", "www.one.test"), *more], socket_too=True,
                         **options)
        wait_until_good(front, "one.test")
        return ca, front
    return make


# Looking

@pytest.mark.core
def test_the_list_fits_80_columns_and_says_what_there_is(issued, backend):
    ca, front = issued(managed(backend, "blocked.test"), pebble={"blocked": ["blocked.test"]})
    wait_until(lambda: domain(front, "blocked.test")["errors"] > 0, "an error")
    code, text = run_in_terminal("certs", "-c", front.config, env={"NO_COLOR": "1"})
    assert code == 0, text
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80, text
    assert lines[0].split() == ["DOMAIN", "STATE", "KEYS", "ISSUER", "EXPIRES", "RENEWAL"]
    assert re.match(r"one\.test +good +P-256 +Pebble Inter\S* .*in \d+ days +in \d+ days", lines[1])
    assert lines[2] == "  also www.one.test"
    assert lines[3].startswith("blocked.test") and "incomplete" in lines[3]
    assert "failed, next attempt" in text and "rejectedIdentifier" in text.replace("\n  ", "")
    assert lines[-1] == "2 domains, 1 to look at: `mdfront certs show NAME` tells more"
    assert "\x1b" not in text
    _, coloured = run_in_terminal("certs", "list", "-c", front.config)
    assert "\x1b[32mgood\x1b[0m" in coloured
    # A pipe gets everything, whatever its width.
    piped = front.command("certs")
    assert piped.returncode == 0 and "\x1b" not in piped.stdout
    assert "Pebble Intermediate CA" in piped.stdout


def test_the_list_for_programs_is_what_the_admin_listener_gives(issued):
    _, front = issued()
    done = front.command("certs", "list", "--json")
    assert done.returncode == 0
    (one,) = json.loads(done.stdout)["domains"]
    assert one["name"] == "one.test" and one["names"] == ["one.test", "www.one.test"]
    (certificate,) = one["certificates"]
    assert certificate["key_type"] == "EC P-256" and certificate["revoked"] is None
    assert int(certificate["serial"], 16) == int(shown_serial(front, "one.test"), 16)


@pytest.mark.core
def test_show_tells_all_about_one_domain_by_any_of_its_names(issued):
    ca, front = issued()
    for name in ("one.test", "www.one.test"):
        done = front.command("certs", "show", name)
        assert done.returncode == 0, done
        certificate = domain(front, "one.test")["certificates"][0]
        for word in ("one.test  good", "names         one.test, www.one.test", ca.directory,
                     "Certificate, EC P-256", certificate["serial"], certificate["sha256"],
                     "when 33% of its life is left"):
            assert word in done.stdout, word
    absent = front.command("certs", "show", "absent.test")
    assert absent.returncode == 1 and absent.stdout == ""
    assert absent.stderr == "mdfront: there is no managed domain absent.test\n"


# Acting

@pytest.mark.core
def test_renew_waits_and_shows_the_new_certificate(issued):
    ca, front = issued()
    before = shown_serial(front, "one.test")
    done = front.command("certs", "renew", "one.test", timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done
    now = shown_serial(front, "one.test")
    assert now != before and "the new certificate is in use" in done.stdout
    (serial,) = re.findall(r"serial ([0-9A-F]+)", done.stdout)
    assert int(serial, 16) == int(now, 16)
    assert re.search(r"^  \d\d:\d\d:\d\d  \S", done.stdout, re.M), "what it was doing"

    asked = front.command("certs", "renew", "one.test", "--json", timeout=60)
    assert asked.returncode == 0
    certificate = json.loads(asked.stdout)["domain"]["certificates"][0]
    assert int(certificate["serial"], 16) == int(shown_serial(front, "one.test"), 16)


def test_renew_without_waiting_returns_at_once(issued):
    ca, front = issued()
    orders = ca.orders()
    done = front.command("certs", "renew", "one.test", "--no-wait")
    assert done.returncode == 0 and "will be renewed" in done.stdout
    wait_until(lambda: ca.orders() > orders, "the order")


@pytest.mark.core
def test_a_renewal_that_fails_ends_with_the_error_and_the_next_attempt(issued):
    ca, front = issued()
    before = shown_serial(front, "one.test")
    ca.close()
    done = front.command("certs", "renew", "one.test", timeout=60)
    assert done.returncode == 1, done
    assert "failed" in done.stdout and "next attempt" in done.stdout
    assert f"localhost:{ca.port}" in done.stdout
    assert shown_serial(front, "one.test") == before
    as_json = front.command("certs", "renew", "one.test", "--json", timeout=60)
    assert as_json.returncode == 1
    assert str(ca.port) in json.loads(as_json.stdout)["domain"]["requests"]["error"]


@pytest.mark.core
@pytest.mark.parametrize("command", [["certs", "revoke"], ["revoke"]])
def test_revoke_tells_the_ca_and_gets_a_certificate_with_a_new_key(issued, command):
    ca, front = issued()
    before = domain(front, "one.test")["certificates"][0]
    key = (front.store / "domains/one.test/privkey.p-256.pem").read_text()
    done = front.command(*command, "one.test", "--reason", "keycompromise", timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "keyCompromise" in done.stdout
    assert "the certificate is revoked, and a new one is in use" in done.stdout
    after = domain(front, "one.test")["certificates"][0]
    assert after["sha256"] != before["sha256"]
    assert (front.store / "domains/one.test/privkey.p-256.pem").read_text() != key
    assert ca.count("revoke-cert") >= 1


def test_a_reason_that_there_is_not_is_told_with_those_that_there_are(issued):
    _, front = issued()
    done = front.command("revoke", "one.test", "--reason", "bored")
    assert done.returncode == 2
    assert "bored" in done.stderr and "keyCompromise" in done.stderr


@pytest.mark.core
def test_accounts_are_listed_and_get_new_keys(issued):
    ca, front = issued()
    listed = front.command("accounts")
    assert listed.returncode == 0
    (account,) = json.loads(front.command("accounts", "list", "--json").stdout)["accounts"]
    for word in (account["id"], "valid", "EC P-256", ca.directory, "used by one.test",
                 "mailto:ops@example.test"):
        assert word in listed.stdout, word
    path = front.store / "accounts" / account["id"] / "account.pem"
    before = path.read_text()
    done = front.command("accounts", "rollover", account["id"], timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "has a new key" in done.stdout
    assert path.read_text() != before
    assert front.command("certs", "renew", "one.test", timeout=60).returncode == 0
    absent = front.command("accounts", "rollover", "ACME-absent-0000")
    assert absent.returncode == 1 and "ACME-absent-0000" in absent.stderr


# Who may

def post(front, target, body, over="socket", **fields):
    address = str(front.socket) if over == "socket" else ("127.0.0.1", front.admin)
    fields = {"Content_Type": "application/json", **fields}
    lines = [(name.replace("_", "-"), value) for name, value in fields.items() if value]
    host = "localhost" if over == "socket" else f"127.0.0.1:{front.admin}"
    with Client(address) as client:
        return client.exchange("POST", target, host=host, fields=lines,
                               body=json.dumps(body).encode())


def error_of(answer):
    assert answer["Content-Type"] == "application/json"
    return json.loads(answer.body)["error"]


@pytest.mark.core
def test_actions_over_tcp_are_refused_unless_switched_on(issued):
    ca, front = issued()
    orders = ca.orders()
    answer = post(front, "/actions/renew", {"name": "one.test"}, over="tcp")
    assert answer.status == 403 and "actions = true" in error_of(answer)
    done = front.command("certs", "renew", "one.test", "--admin", f"127.0.0.1:{front.admin}")
    assert done.returncode == 1 and "actions = true" in done.stderr
    assert front.command("certs", "--admin", f"127.0.0.1:{front.admin}").returncode == 0
    assert ca.orders() == orders


@pytest.mark.core
def test_actions_over_tcp_are_not_for_pages_from_elsewhere(issued):
    ca, front = issued(admin={"actions": True})
    orders = ca.orders()
    ours = f"http://127.0.0.1:{front.admin}"
    one = {"name": "one.test"}
    refused = [({"Origin": "https://evil.test"}, 403), ({"Origin": "null"}, 403),
               ({"Origin": "http://127.0.0.1:1"}, 403), ({"Sec_Fetch_Site": "cross-site"}, 403),
               ({"Sec_Fetch_Site": "same-site"}, 403),
               ({"Content_Type": "text/plain"}, 415), ({"Content_Type": None}, 415),
               ({"Content_Type": "application/x-www-form-urlencoded"}, 415)]
    for fields, status in refused:
        answer = post(front, "/actions/renew", one, over="tcp", **fields)
        assert answer.status == status, (fields, answer)
    with Client(("127.0.0.1", front.admin)) as client:
        assert client.exchange("POST", "/actions/renew", host="evil.test",
                               fields=[("Content-Type", "application/json")],
                               body=b'{"name": "one.test"}').status == 421
    with Client(("127.0.0.1", front.admin)) as client:
        assert client.exchange("GET", "/actions/renew", host="localhost").status == 405
    assert ca.orders() == orders
    answer = post(front, "/actions/renew", one, over="tcp", Origin=ours,
                  Sec_Fetch_Site="same-origin")
    assert answer.status == 202, answer
    wait_until(lambda: ca.orders() > orders, "the order")


@pytest.mark.core
def test_what_is_asked_for_wrongly_is_explained(issued):
    _, front = issued()
    cases = [("/actions/renew", {"name": "absent.test"}, 404, "absent.test"),
             ("/actions/renew", {}, 400, '"name" is missing'),
             ("/actions/renew", {"name": 5}, 400, "text"),
             ("/actions/renew", ["one.test"], 400, "JSON object"),
             ("/actions/renew", {"name": "one.test", "resaon": "x"}, 400, "resaon"),
             ("/actions/revoke", {"name": "one.test", "reason": "bored"}, 400, "keyCompromise"),
             ("/actions/account-rollover", {"account": "absent"}, 404, "absent"),
             ("/actions/fly", {}, 404, "/actions/renew")]
    for target, body, status, word in cases:
        answer = post(front, target, body)
        assert answer.status == status and word in error_of(answer), (target, body, answer)


def test_a_body_may_come_in_pieces_and_not_without_end(issued):
    _, front = issued()
    head = (b"POST /actions/renew HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\n")
    with Client(str(front.socket)) as client:
        client.send(head + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"nam\r\n")
        client.send(b"d\r\ne\": \"absent\"}\r\n0\r\n\r\n")
        assert client.read_response().status == 404
        # The connection goes on.
        client.send(head + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_response(interim=True).status == 100
        client.send(b"{}")
        assert client.read_response().status == 400
    with Client(str(front.socket)) as client:
        client.send(head + b"Content-Length: 65537\r\n\r\n")
        assert client.read_response().status == 413
    with Client(str(front.socket)) as client:
        client.send(head + b"Transfer-Encoding: chunked\r\n\r\n10001\r\n" + b" " * 0x10001)
        assert client.read_response().status == 413


@pytest.mark.core
def test_the_socket_is_for_its_owner_and_group(issued):
    _, front = issued()
    facts = front.socket.stat()
    assert facts.st_mode & 0o777 == 0o660
    assert (facts.st_uid, facts.st_gid) == (os.geteuid(), os.getegid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_socket_belongs_to_the_user_that_mdfront_becomes(acme, backend):
    user = pwd.getpwnam("www-data")
    _, front = acme([managed(backend, "one.test")], server={"user": "www-data"}, socket_too=True,
                    pebble={"start": False})
    facts = front.socket.stat()
    assert (facts.st_uid, facts.st_gid) == (user.pw_uid, user.pw_gid)
    assert facts.st_mode & 0o777 == 0o660
    front.socket.parent.chmod(0o711)
    child = os.fork()
    if child == 0:  # somebody else: nobody
        nobody = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        try:
            Client(str(front.socket))
        except PermissionError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


# Without a process

@pytest.mark.core
def test_a_stopped_process_is_named_and_what_to_do(issued):
    _, front = issued()
    front.stop()
    done = front.command("certs")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"mdfront: nobody listens on unix:{front.socket}: mdfront does not run; start it (mdfront "
        "run), or name another address with --admin ADDRESS\n")
    tcp = front.command("certs", "renew", "one.test", "--admin", f"127.0.0.1:{front.admin}")
    assert tcp.returncode == 1 and "does not run" in tcp.stderr


def test_a_configuration_without_an_admin_listener_is_explained(folder):
    config = folder / "mdfront.toml"
    config.write_text("[md]\nstore_dir = \"md\"\n")
    done = run_command("certs", "-c", config)
    assert done.returncode == 1 and "[admin] listen" in done.stderr
    absent = run_command("certs", "-c", folder / "absent.toml")
    assert absent.returncode == 1 and "--admin" in absent.stderr
    wrong = run_command("certs", "--admin", "nowhere")
    assert wrong.returncode == 1 and "--admin nowhere" in wrong.stderr


def test_a_process_that_ends_while_it_is_waited_for_is_told_of(issued):
    ca, front = issued()
    ca.process.send_signal(signal.SIGSTOP)  # the renewal hangs
    try:
        waiting = subprocess.Popen([BINARY, "certs", "renew", "one.test", "-c", front.config],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert "is being renewed" in waiting.stdout.readline()
        front.stop()
        _, error = waiting.communicate(timeout=20)
        assert waiting.returncode == 1 and "does not" in error
    finally:
        ca.process.send_signal(signal.SIGCONT)


# The store

def check_store(store, *options):
    done = run_command("store", "check", "--store", store, "--json", *options)
    assert done.stderr == "", done
    report = json.loads(done.stdout)
    assert done.returncode == (1 if report["problems"] else 0)
    return report


@pytest.mark.core
def test_a_store_of_mdfront_is_clean_and_damage_is_found(issued):
    _, front = issued()
    running = check_store(front.store)
    assert running["problems"] == 0
    assert any("works on it" in finding["what"] for finding in running["findings"])
    refused = run_command("store", "check", "--store", front.store, "--fix")
    assert refused.returncode == 1 and f"process {front.process.pid}" in refused.stderr
    front.stop()
    good = check_store(front.store)
    assert (good["domains"], good["certificates"], good["accounts"]) == (1, 1, 1)
    assert good["findings"] == []
    by_config = front.command("store", "check")
    assert by_config.returncode == 0 and "1 domain, 1 certificate, 1 account" in by_config.stdout

    live = front.store / "domains/one.test"
    (live / "md.json").write_text("{")
    front.store.chmod(0o755)
    bad = front.command("store", "check")
    assert bad.returncode == 1
    assert "domains/one.test/md.json" in bad.stdout and "--fix" in bad.stdout
    fixed = check_store(front.store, "--fix")
    assert fixed["problems"] == 0 and all(one["fixed"] for one in fixed["findings"])
    assert front.store.stat().st_mode & 0o777 == 0o700
    (live / "privkey.p-256.pem").unlink()
    front.start()  # it writes md.json anew
    wait_until_good(front, "one.test")
    front.stop()
    assert check_store(front.store)["problems"] == 0


@pytest.mark.skipif(not (MODULES / "mod_md.so").exists(), reason="httpd without mod_md")
@pytest.mark.core
def test_a_store_of_mod_md_is_understood_and_closed_to_others(folder, started, authority,
                                                             challtestsrv):
    https, http = free_port(), free_port()
    ca = started(Pebble(folder / "ca", authority, challtestsrv.dns, http, https))
    store = folder / "store"
    httpd = started(ModMd(folder / "httpd", store, ca, https, http,
                          {"one.test": (["www.one.test"], ["MDPrivateKeys P-256 RSA"])}))
    job = store / "staging/one.test/job.json"
    wait_until(lambda: job.exists() and json.loads(job.read_text() or "{}").get("finished"),
               f"mod_md's certificate; its log:\n{httpd.log}", 60, every=0.1)
    staged = check_store(store)
    assert not [one for one in staged["findings"] if one["severity"] == "error"], staged
    httpd.restart()
    wait_until(lambda: (store / "domains/one.test/pubcert.pem").exists(), "its activation", 30)
    httpd.close()
    report = check_store(store)
    assert (report["domains"], report["certificates"], report["accounts"]) == (1, 2, 1)
    (problem,) = [one for one in report["findings"] if one["severity"] != "note"]
    assert problem["severity"] == "warning" and "mode" in problem["what"], report
    assert check_store(store, "--fix")["problems"] == 0
    assert check_store(store)["problems"] == 0
    for path in store.rglob("*"):
        wanted = 0o700 if path.is_dir() else 0o600
        assert path.stat().st_mode & 0o777 == wanted or path.name == "store.lock", path
