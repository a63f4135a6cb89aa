"""Programs of the administrator's: events (MessageCmd, NotifyCmd) and dns-01, with a real CA."""
import json
import time

import pytest

from harness.waiting import wait_until
from test_acme import alternative_names, managed, shown_certificate, wait_for_certificate

# Notes its words in calls.log beside itself, then does what the test wants.
SCRIPT = """#!/usr/bin/python3
import json, os, pathlib, sys, urllib.request
folder = pathlib.Path(__file__).parent
words = sys.argv[1:]
calls = folder / (pathlib.Path(__file__).name + ".log")
number = len(calls.read_text().splitlines()) if calls.exists() else 0
with calls.open("a") as log:
    log.write(" ".join(words) + "\\n")
"""


@pytest.fixture
def program(folder):
    """program("name", "more Python") makes one; gives its path and a function: the calls so far."""

    def make(name, body=""):
        path = folder / name
        path.write_text(SCRIPT + body)
        path.chmod(0o755)
        log = folder / f"{name}.log"
        return path, lambda: log.read_text().splitlines() if log.exists() else []

    return make


@pytest.fixture
def dns(program, challtestsrv):
    """A program that keeps the TXT records of challtestsrv."""

    def make(body=""):
        return program("dns", f"""
def post(path, **values):
    data = json.dumps(values).encode()
    urllib.request.urlopen("http://{challtestsrv.management}" + path, data, timeout=10).read()

action, host = words[0], "_acme-challenge." + words[1] + "."
if action == "setup":
    post("/set-txt", host=host, value=words[2])
elif action == "teardown":
    post("/clear-txt", host=host)
""" + body)

    return make


@pytest.mark.core
@pytest.mark.parametrize("version", [1, 2])
def test_a_name_and_its_wildcard_are_proved_by_dns_01(acme, backend, dns, version):
    path, calls = dns()
    ca, front = acme([managed(backend, "one.test", "*.one.test")],
                     md={"challenge_dns01": str(path), "challenge_dns01_version": version,
                         "ca_challenges": ["dns-01"]})
    wait_for_certificate(front, ca, "one.test", "any.one.test")
    assert alternative_names(shown_certificate(front, "x.one.test")) == ["*.one.test", "one.test"]
    made = [line.split() for line in calls()]
    assert [line[:2] for line in made] == [["setup", "one.test"]] * 2 + [
        ["teardown", "one.test"]] * 2
    values = [line[2] for line in made[:2]]
    assert len(set(values)) == 2 and all(len(value) == 43 for value in values)
    assert [line[2:] for line in made[2:]] == ([[], []] if version == 1 else
                                               [[value] for value in values])
    assert not (front.store / "staging/one.test").exists()


def test_dns_01_is_used_for_the_wildcard_alone_if_there_is_another_way(acme, backend, dns):
    path, calls = dns()
    ca, front = acme(
        [{"hosts": ["one.test", "*.one.test"], "backend": backend.address},
         managed(backend, "two.test")],
        domains=[{"names": ["one.test", "*.one.test"], "challenge_dns01": [str(path)]}])
    wait_for_certificate(front, ca, "one.test", "www.one.test", "two.test")
    assert [line.split()[0] for line in calls()] == ["setup", "teardown"]


def test_a_domain_of_a_wildcard_alone(acme, backend, dns):
    path, _ = dns()
    ca, front = acme([managed(backend, "*.one.test")], md={"challenge_dns01": str(path)})
    wait_for_certificate(front, ca, "a.one.test")
    assert front.status("*.one.test")["domains"] == ["*.one.test"]


@pytest.mark.core
def test_records_are_taken_down_after_a_kill(acme, backend, dns):
    # While the file "wait" is there, the program does not come to its end after a setup.
    path, calls = dns("""
import time
while action == "setup" and (folder / "wait").exists():
    time.sleep(0.02)
""")
    (path.parent / "wait").touch()
    ca, front = acme([managed(backend, "*.one.test")],
                     md={"challenge_dns01": str(path), "challenge_dns01_version": 2})
    wait_until(lambda: len(calls()) == 1, "the first setup")
    front.kill()
    (path.parent / "wait").unlink()
    front.start()
    wait_for_certificate(front, ca, "a.one.test")
    lines = calls()
    assert lines[1] == lines[0].replace("setup", "teardown")
    assert [line.split()[0] for line in lines] == ["setup", "teardown", "setup", "teardown"]


def test_a_dns_program_that_is_gone_or_fails_is_told_in_md_status(acme, backend, dns):
    path, _ = dns("if action == 'setup': sys.exit('no such zone \\x1b[31mone.test')\n")
    ca, front = acme([managed(backend, "*.one.test")], md={"challenge_dns01": str(path)})

    def last():
        return front.status("*.one.test").get("renewal", {}).get("last", {})

    wait_until(lambda: last().get("problem"), "a problem")
    assert last()["problem"] == "challenge-setup-failure"
    assert "exit code 1; its last lines: no such zone \\x1b[31mone.test" in last()["detail"]
    assert "no such zone \\x1b[31mone.test" in front.log and "\x1b" not in front.log
    path.unlink()
    wait_until(lambda: "could not be started: No such file" in last().get("detail", ""),
               "the other problem", 40)
    assert front.status("*.one.test")["renewal"]["errors"] >= 2


@pytest.mark.core
def test_each_way_in_which_a_dns_program_can_fail_is_told(acme, backend, folder):
    # What it does, and what md-status says of it. Another domain goes on beside them.
    cases = {
        "gone.test": ("", "could not be started: No such file or directory"),
        "mode.test": ("", "could not be started: Permission denied"),
        "binary.test": ("", "could not be started: Exec format error"),
        "exit.test": ("echo one; echo two >&2; exit 3",
                      "failed with exit code 3; its last lines: one / two"),
        "killed.test": ("kill -9 $$", "was killed by signal 9 (Killed)"),
        "hangs.test": ("sleep 100", "did not end within 1s and was killed"),
        "talks.test": ("head -c 30000000 /dev/zero | tr '\\0' x; echo; echo end; exit 1",
                       "failed with exit code 1; its last lines:"),
        "forks.test": ("sleep 3 & exit 4", "failed with exit code 4")}
    programs = {}
    for name, (body, _) in cases.items():
        programs[name] = folder / f"dns-{name}"
        programs[name].write_text(f"#!/bin/sh\n[ $1 = setup ] || exit 0\n{body}\n")
        programs[name].chmod(0o755)
    ca, front = acme([managed(backend, "good.test"),
                      *({"hosts": [f"*.{name}"], "backend": backend.address} for name in cases)],
                     md={"command_timeout": "1s"}, pebble={"start": False},
                     domains=[{"names": [f"*.{name}"], "challenge_dns01": str(programs[name])}
                              for name in cases])
    programs["gone.test"].unlink()
    programs["mode.test"].chmod(0o644)
    programs["binary.test"].write_bytes(b"\x7fELF and no more")
    ca.start()
    wait_for_certificate(front, ca, "good.test")

    def last(name):
        return front.status(f"*.{name}").get("renewal", {}).get("last", {})

    for name, (_, words) in cases.items():
        wait_until(lambda: words in last(name).get("detail", ""),
                   f"{words!r} of {name}; told is {last(name)}", 40)
        assert last(name)["problem"] == "challenge-setup-failure"
        assert str(programs[name]) in last(name)["detail"] and len(last(name)["detail"]) < 2048
    assert last("talks.test")["detail"].endswith("end")
    assert front.get(host="good.test", roots=ca.root).status == 200


@pytest.mark.core
def test_events_are_told_in_order_with_their_domain(acme, backend, program):
    message, told = program(
        "message",
        # Python itself adds LC_CTYPE.
        "print(sorted(set(os.environ) - {'LC_CTYPE'}), os.environ['MDFRONT_EVENT'])\n")
    notify, notified = program("notify")
    ca, front = acme(
        [managed(backend, "one.test", "two.test")],
        md={"message_cmd": f"'{message}' --to 'a b'", "notify_cmd": [str(notify), "x y"],
            "ca_challenges": ["http-01"]},
        env={"LD_BIND_NOW": "1", "https_proxy": "http://127.0.0.1:1"})
    wait_for_certificate(front, ca, "one.test")
    wait_until(lambda: len(told()) == 5, "all events")
    lines = [line.removeprefix("--to a b ") for line in told()]
    assert lines[0] == "renewing one.test"
    assert sorted(lines[1:3]) == ["challenge-setup:http-01:one.test one.test",
                                  "challenge-setup:http-01:two.test one.test"]
    assert lines[3:] == ["renewed one.test", "installed one.test"]
    assert notified() == ["x y one.test"]
    names = ["HOME", "MDFRONT_DOMAIN", "MDFRONT_EVENT", "MDFRONT_NAMES", "MDFRONT_STORE_DIR",
             "PATH"]
    wait_until(lambda: f"{names} installed" in front.log, "its output in the log")
    wait_until(lambda: "renewal" not in front.status("one.test"), "the end of the job")
    entries = json.loads((front.store / "domains/one.test/job.json").read_text())["log"]["entries"]
    assert entries[0]["type"] == "message-installed"
    assert "message-renewed" in [entry["type"] for entry in entries]
    # Told once: not again at the next start.
    assert front.stop() == 0
    front.start()
    wait_until(lambda: front.status("one.test")["state"] == 2, "a status")
    assert len(told()) == 5 and "renewal" not in front.status("one.test")


@pytest.mark.core
def test_a_notify_cmd_that_fails_is_told_and_tried_again(acme, backend, program):
    notify, notified = program("notify", "sys.exit('not yet' if number < 2 else 0)\n")
    message, told = program("message")
    ca, front = acme([managed(backend, "one.test")],
                     md={"message_cmd": [str(message)], "notify_cmd": [str(notify)]})
    wait_for_certificate(front, ca, "one.test")  # what is served does not wait for it
    wait_until(lambda: notified(), "the first call")
    job = wait_until(lambda: front.status("one.test").get("renewal"), "a job")
    assert job["last"]["problem"] == "urn:org:apache:httpd:log:AH10108:"
    assert "exit code 1; its last lines: not yet" in job["last"]["detail"]
    assert "renewed one.test" not in told()
    wait_until(lambda: "renewed one.test" in told(), "success", 40)
    wait_until(lambda: "renewal" not in front.status("one.test"), "the end of the job")
    assert notified() == ["one.test"] * 3
    assert told().count("renewed one.test") == told().count("installed one.test") == 1


def test_a_program_that_is_gone_is_told_in_md_status(acme, backend, program):
    notify, _ = program("notify")
    ca, front = acme([managed(backend, "one.test")], md={"notify_cmd": [str(notify)]},
                     pebble={"start": False})
    notify.unlink()
    ca.start()
    wait_for_certificate(front, ca, "one.test")

    def problem():
        return front.status("one.test").get("renewal", {}).get("last", {}).get("problem")

    wait_until(lambda: problem() == "urn:org:apache:httpd:log:AH10108:", "a problem")
    detail = front.status("one.test")["renewal"]["last"]["detail"]
    assert detail == f"notify_cmd {notify} could not be started: No such file or directory"


def test_renewing_can_be_refused(acme, backend, program):
    message, told = program("message", "sys.exit(words[0] == 'renewing' and number < 2)\n")
    ca, front = acme([managed(backend, "one.test")],
                     md={"message_cmd": [str(message)], "check_interval": "1s"})
    wait_until(lambda: len(told()) >= 2, "two questions")
    assert ca.count("order-plz") == 0
    wait_for_certificate(front, ca, "one.test")
    assert told()[:3] == ["renewing one.test"] * 3


@pytest.mark.core
def test_a_command_that_hangs_holds_nobody_up_and_ends_with_the_server(acme, backend, program):
    message, told = program("message", """
if words[1] == "slow.test":
    import subprocess
    child = subprocess.Popen(["/bin/sleep", "1000"])
    (folder / "child").write_text(str(child.pid))
    child.wait()
""")
    ca, front = acme([managed(backend, "slow.test"), managed(backend, "good.test")],
                     md={"message_cmd": [str(message)]})
    wait_for_certificate(front, ca, "good.test")
    assert "renewing slow.test" in told()
    child = wait_until(lambda: (message.parent / "child").exists() and
                       (message.parent / "child").read_text(), "its child")
    assert is_running(child)
    begin = time.monotonic()
    assert front.stop() == 0
    assert time.monotonic() - begin < 8
    wait_until(lambda: not is_running(child), "the end of the child")


def test_a_command_is_killed_at_its_time_limit(acme, backend, program):
    message, told = program("message", """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while words[0].startswith("challenge-setup:tls-alpn-01"):
    time.sleep(1)
""")
    ca, front = acme([managed(backend, "one.test")],
                     md={"message_cmd": [str(message)], "command_timeout": "1s"})
    wait_for_certificate(front, ca, "one.test")  # by the next challenge type
    front.process.wait_for_log("did not end within 1s and was killed")
    front.process.wait_for_log("http-01 is set up for one.test")


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return ") Z " not in stat.read()
    except FileNotFoundError:
        return False
