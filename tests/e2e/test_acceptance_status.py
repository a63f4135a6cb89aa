"""mod_md's acceptance list (docs/acceptance.md): static certificates, warnings, and what the status
pages say."""
import json

import pytest

from harness.waiting import wait_until
from test_acceptance_drive import serial, site
from test_acme import managed, wait_for_certificate


@pytest.fixture
def static(authority):
    """static("name", days=…) gives keys of an [[md.domain]] with files, and the certificate."""

    def make(name, days=90, **keys):
        files = authority.issue(name, days=days)
        return {"names": [name], "certificate_file": [str(files.chain)],
                "certificate_key_file": [str(files.key)], **keys}, files

    return make


@pytest.mark.core
def test_static_certificates_are_served_watched_and_never_renewed(acme, backend, static, events):
    # Of 60 days, the first 50 left: inside its renew window of 55 days, the second in its warn
    # window, too.
    message, told = events
    quiet, quiet_files = static("quiet.test", 60, renew_window="70d", warn_window="10d")
    loud, loud_files = static("loud.test", 60, renew_window="70d", warn_window="65d")
    ca, front = acme([site(backend, "quiet.test"), site(backend, "loud.test")],
                     domains=[quiet, loud],
                     md={"message_cmd": message, "check_interval": "1s", "initial_delay": "1s"})
    for name, files in (("quiet.test", quiet_files), ("loud.test", loud_files)):
        assert serial(front, name) == files.certificate.serial_number
        state = front.status(name)
        assert state["state"] == 2 and state["renew"] is True
        assert state["cert"]["0"]["serial"].lstrip("0") == files.serial.lstrip("0")
    assert front.status("quiet.test")["renew-mode"] == 0  # auto with files is manual
    # Noted, too: an end between the program's and the note makes the next start tell it again.
    record = front.store / "staging/loud.test/job.json"
    wait_until(lambda: record.exists() and "message-expiring" in record.read_text(),
               f"a warning; log:\n{front.log}")
    assert told() == ["expiring loud.test"]
    front.restart()
    # A check goes by, and says nothing more.
    looks = front.log.count("quiet.test")
    wait_until(lambda: front.status("loud.test").get("renewal") is not None, "its job")
    assert told() == ["expiring loud.test"]
    assert "renewal" not in front.status("quiet.test")
    assert ca.orders() == 0 and looks == front.log.count("quiet.test")


def test_static_with_always_renews_in_the_store_and_serves_the_files(acme, backend, static):
    domain, files = static("one.test", 60, renew_window="70d", renew_mode="always",
                           private_keys=["P-256", "RSA"])
    ca, front = acme([site(backend, "one.test")], domains=[domain])
    stored = front.store / "domains/one.test"
    wait_until(lambda: {"pubcert.pem", "pubcert.p-256.pem"} <= {
        path.name for path in stored.glob("*")}, f"both in the store; log:\n{front.log}", 30)
    assert serial(front, "one.test") == files.certificate.serial_number
    assert ca.orders() == 2
    assert front.status("one.test")["renew-mode"] == 2


@pytest.mark.parametrize("missing", ["certificate_file", "certificate_key_file"])
def test_static_with_one_of_both_files_is_refused(acme, backend, static, missing):
    domain, _ = static("one.test")
    del domain[missing]
    _, front = acme([site(backend, "one.test")], domains=[domain], start=False)
    with pytest.raises(AssertionError, match="ended with 1"):
        front.start()
    front.process = None
    assert "certificate_key_file" in front.log and "each certificate needs its key" in front.log


@pytest.mark.core
def test_a_failing_expiring_event_counts_and_success_clears_it(acme, backend, static, folder):
    fails = folder / "fails"
    fails.touch()
    script = folder / "message"
    script.write_text(f"#!/bin/sh\n[ ! -e {fails} ]\n")
    script.chmod(0o755)
    domain, _ = static("one.test", 60, warn_window="65d")
    _, front = acme([site(backend, "one.test")], domains=[domain],
                    md={"message_cmd": str(script), "check_interval": "1s"})

    def job():
        return front.status("one.test").get("renewal", {})

    wait_until(lambda: job().get("errors", 0) >= 1, f"a failure; log:\n{front.log}")
    assert job()["last"]["problem"] == "urn:org:apache:httpd:log:AH10109:"
    fails.unlink()
    wait_until(lambda: job().get("errors") == 0, f"success; log:\n{front.log}")
    assert job()["log"]["entries"][0]["type"] == "message-expiring"


@pytest.mark.core
def test_all_outputs_tell_of_both_kinds_of_keys(acme, backend):
    ca, front = acme([managed(backend, "one.test"), managed(backend, "two.test")],
                     md={"private_keys": ["P-256", "RSA"], "server_status": True})
    wait_for_certificate(front, ca, "one.test", "two.test")
    wait_until(lambda: all("renewal" not in front.status(name) for name in
                           ("one.test", "two.test")), "the end of the jobs")
    certificates = front.status("one.test")["cert"]
    assert set(certificates) == {"rsa", "P-256", "valid"}
    answer = front.get_plain("/.httpd/certificate-status", host="one.test")
    status = json.loads(answer.body)
    for key in ("rsa", "P-256"):
        assert status[key]["sha256-fingerprint"] == certificates[key]["sha256-fingerprint"]
    page = front.get_admin("/server-status").body.decode()
    lines = front.get_admin("/server-status?auto").body.decode().splitlines()
    assert "Managed Certificates" in page
    for line in ("ManagedCertificatesTotal: 2", "ManagedCertificatesOK: 2",
                 "ManagedCertificatesRenew: 0", "ManagedCertificatesErrored: 0",
                 "ManagedDomain[0]Domain: one.test"):
        assert line in lines, lines
    for key in ("rsa", "P-256"):
        fingerprint = certificates[key]["sha256-fingerprint"]
        assert fingerprint in page
        assert any(fingerprint in line for line in lines)


def test_certificate_status_can_be_given_to_the_backend(acme, backend):
    ca, front = acme([managed(backend, "one.test")], md={"certificate_status": False})
    wait_for_certificate(front, ca, "one.test")
    assert front.get("/.httpd/certificate-status", host="one.test").status == 200
    assert backend.requests[-1].target == "/.httpd/certificate-status"


@pytest.mark.core
def test_the_default_site_is_in_all_outputs(acme, backend, static):
    domain, files = static("base.test", 90)
    _, front = acme([site(backend, "base.test", default=True)], domains=[domain],
                    md={"base_server": True, "server_status": True})
    state = front.status("base.test")
    assert (state["state"], state["renew-mode"]) == (2, 0)
    assert "Managed Certificates" in front.get_admin("/server-status").body.decode()
    assert "ManagedCertificatesTotal: 1" in front.get_admin(
        "/server-status?auto").body.decode().splitlines()
    assert serial(front, "base.test") == files.certificate.serial_number
