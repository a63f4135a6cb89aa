"""Certificates from the tailscale daemon: a stand-in gives them over a real Unix socket, the rest
is real. That Tailscale's own daemon does the same is not proven here: it would have to log in."""
import json
import ssl

from cryptography import x509
import pytest

from harness.http1 import tls_context
from harness.mdfront import run_command
from harness.tailscaled import Tailscaled
from harness.waiting import wait_until

NAME = "box.tail1234.ts.net"


@pytest.fixture
def daemon(started, folder, authority):
    counter = iter(range(100))
    return lambda **options: started(
        Tailscaled(folder / f"ts{next(counter)}.sock", authority, **options))


@pytest.fixture
def tailnet(mdfront, backend):
    """tailnet(daemon): mdfront with a domain of the machine's name; keys go into the domain."""

    def make(tailscaled, name=NAME, md=None, server=None, **keys):
        return mdfront(
            [{"hosts": [name], "backend": backend.address}],
            md={"retry_delay": "1s", **(md or {})}, server=server,
            domains=[{"names": [name], "certificate_protocol": "tailscale",
                      "certificate_authority": tailscaled.url, **keys}])

    return make


def served(front, name=NAME):
    with front.connect(name, context=tls_context()) as client:
        return x509.load_der_x509_certificate(client.socket.getpeercert(binary_form=True))


def is_verified(front, authority, name=NAME):
    try:
        return front.get(host=name, roots=authority.root).status == 200
    except (ssl.SSLError, OSError):
        return False


def wait_until_verified(front, authority, name=NAME):
    wait_until(lambda: is_verified(front, authority, name), f"a certificate; log:\n{front.log}")


def wait_for_error(front, text, name=NAME):
    """The status that has it."""

    def failed():
        renewal = front.status(name).get("renewal", {})
        return text in renewal.get("last", {}).get("detail", "") and renewal

    return wait_until(failed, f"{text}; log:\n{front.log}")


@pytest.mark.core
def test_the_daemons_certificate_is_served_and_stored_as_mod_md_stores_it(
        tailnet, daemon, authority):
    tailscaled = daemon()
    files = tailscaled.issue(NAME)
    front = tailnet(tailscaled)
    wait_until_verified(front, authority)
    assert served(front).serial_number == files.certificate.serial_number
    directory = front.store / "domains" / NAME
    assert {path.name for path in directory.iterdir()} >= {
        "md.json", "job.json", "privkey.pem", "pubcert.pem"}
    stored = json.loads((directory / "md.json").read_text())
    assert stored["ca"] == {"proto": "tailscale", "url": tailscaled.url, "urls": [tailscaled.url]}
    assert not list((front.store / "accounts").glob("*"))
    assert front.status(NAME)["state"] == 2
    assert tailscaled.requests == [NAME]


@pytest.mark.core
def test_a_daemon_that_is_not_up_is_told_by_its_socket_and_used_when_it_comes(
        tailnet, daemon, authority):
    tailscaled = daemon(start=False)
    tailscaled.issue(NAME)
    front = tailnet(tailscaled)
    renewal = wait_for_error(front, "may not be up")
    # As mod_md's test 780_001 has it, and what to do.
    assert renewal["last"]["status-description"] == "No such file or directory"
    assert renewal["last"]["detail"].startswith(
        f"tailscale socket not available, may not be up: {tailscaled.path}; start tailscaled")
    assert front.get(host=NAME).status == 503
    tailscaled.start()
    wait_until_verified(front, authority)
    assert front.status(NAME).get("renewal", {}).get("errors", 0) == 0


@pytest.mark.parametrize("answer, text, description", [
    ((404, b"404 page not found\n"), "status 404, 404 page not found; names has to be",
     "No such file or directory"),  # mod_md's test 780_003
    ((403, b"cert access denied\n"), "cert access denied; allow it to the user",
     "Permission denied"),
    ((500, b"your Tailscale account does not support getting TLS certs\n"),
     "switch HTTPS certificates on", None),
    ((200, b"<html>not what was asked for</html>"), "cannot be used", "Invalid argument"),
    ((200, b"x" * 200_000), "is larger than", "File too large")])
def test_what_the_daemon_refuses_is_told_and_tried_again(
        tailnet, daemon, authority, answer, text, description):
    tailscaled = daemon()
    tailscaled.issue(NAME)
    tailscaled.script = lambda name: answer
    front = tailnet(tailscaled)
    renewal = wait_for_error(front, text)
    assert description in (None, renewal["last"]["status-description"])
    tailscaled.script = lambda name: None
    wait_until_verified(front, authority)


def test_a_name_that_is_not_the_machines_is_refused_in_the_daemons_words(tailnet, daemon):
    tailscaled = daemon()
    tailscaled.issue("other.tail1234.ts.net")
    front = tailnet(tailscaled)
    wait_for_error(front, f"invalid domain '{NAME}'; must be one of ['other.tail1234.ts.net']; "
                          "names has to be this machine's own name")


def test_a_key_of_another_certificate_is_refused(tailnet, daemon, authority):
    tailscaled = daemon()
    tailscaled.issue(NAME)
    key, _ = tailscaled.certificates[NAME]
    tailscaled.issue(NAME)
    good = tailscaled.certificates[NAME]
    tailscaled.certificates[NAME] = key, good[1]
    front = tailnet(tailscaled)
    wait_for_error(front, "do not belong together")
    assert not list(front.store.glob("staging/*/pubcert.pem"))
    tailscaled.certificates[NAME] = good
    wait_until_verified(front, authority)


def test_what_the_daemon_has_renewed_is_taken_when_the_window_opens(tailnet, daemon, authority):
    tailscaled = daemon()
    # It ends in an hour, and is due in two seconds.
    first = tailscaled.issue(NAME, days=1 / 24)
    front = tailnet(tailscaled, md={"check_interval": "1s"}, renew_window="3598s")
    wait_until_verified(front, authority)
    second = tailscaled.issue(NAME)
    assert served(front).serial_number == first.certificate.serial_number
    wait_until(lambda: served(front).serial_number == second.certificate.serial_number,
               f"the new one; log:\n{front.log}")
    assert len(tailscaled.requests) == 2


def test_while_the_daemon_has_not_renewed_what_is_served_stays(tailnet, daemon, authority):
    tailscaled = daemon()
    files = tailscaled.issue(NAME)
    front = tailnet(tailscaled)
    wait_until_verified(front, authority)
    # Due from the start: the window is longer than what is left.
    front.document["md"]["domain"][0]["renew_window"] = "100d"
    front.write_config()
    front.stop()
    front.start()
    renewal = wait_for_error(front, "tailscale has not renewed the certificate yet")
    assert renewal["errors"] == 1 and "next-run" in renewal
    assert served(front).serial_number == files.certificate.serial_number
    assert is_verified(front, authority)
    assert tailscaled.requests == [NAME] * 2  # and not again before tomorrow


def test_the_check_knows_the_protocol(folder, backend):
    config = folder / "m.toml"
    config.write_text(f"""
        [[listen]]
        address = "127.0.0.1:8443"
        protocol = "https"
        [[site]]
        hosts = ["{NAME}"]
        backend = "{backend.address}"
        [[md.domain]]
        names = ["{NAME}"]
        certificate_protocol = "tailscale"
        certificate_authority = "https://ca.test/dir"
        """)
    result = run_command("check", "-c", config)
    assert result.returncode != 0
    assert "is no socket of its daemon; leave certificate_authority out" in result.stderr
    config.write_text(config.read_text().replace("certificate_authority", "# "))
    assert run_command("check", "-c", config).returncode == 0
