"""Certificates are exchanged while requests and handshakes go on: none of them fails."""
import re
import signal
import subprocess

import pytest

from harness.http1 import Client, tls_context
from harness.load import Load
from harness.waiting import wait_until


@pytest.mark.threads
@pytest.mark.core
def test_twenty_swaps_of_a_static_certificate_under_load_lose_no_request(
        mdfront, site, apache, authority):
    first = authority.issue("example.test", label="swapped")
    front = mdfront([site(apache(), files=first)], server={"workers": 2})
    load = Load(front, authority.root, "example.test")
    context = tls_context(authority.root)

    def shown():
        with Client(("127.0.0.1", front.https), tls="example.test", context=context) as client:
            return int(client.socket.getpeercert()["serialNumber"], 16)

    for _ in range(20):
        new = authority.issue("example.test", label="swapped")
        front.send_signal(signal.SIGHUP)
        wait_until(lambda: shown() == int(new.serial, 16), "the new certificate is served")
        # However slow the machine: the load goes on, and gets the new one too.
        wait_until(lambda: int(new.serial, 16) in {int(seen, 16) for seen in set(load.serials)}
                   or load.failures, "the load sees it")
    assert load.stop() == []
    assert len(load.serials) >= 20


@pytest.mark.threads
def test_a_benchmark_tool_sees_no_error_while_certificates_are_swapped(
        mdfront, site, apache, authority):
    first = authority.issue("example.test", label="swapped2")
    front = mdfront([site(apache(), files=first)])
    tool = subprocess.Popen(
        ["h2load", "--h1", "-n", "20000", "-c", "20", "-t", "1",
         "--connect-to", f"127.0.0.1:{front.https}", f"https://example.test:{front.https}/"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while tool.poll() is None:
            authority.issue("example.test", label="swapped2")
            front.send_signal(signal.SIGHUP)
        output = tool.communicate(timeout=60)[0]
    finally:
        tool.kill()
        tool.wait()
    assert re.search(r"20000 succeeded, 0 failed, 0 errored", output), output


@pytest.mark.long
def test_renewals_by_acme_under_load_lose_no_request(acme, apache):
    httpd = apache()
    ca, front = acme([{"hosts": ["one.test"], "backend": httpd.address, "managed": True}],
                     pebble={"lifetime": 8}, md={"renew_window": "60%", "check_interval": "1s"},
                     server={"workers": 2})

    def is_there():
        try:
            return front.get(host="one.test", roots=ca.root).status == 200
        except OSError:
            return False

    wait_until(is_there, "the first certificate", 30)
    load = Load(front, ca.root, "one.test")
    wait_until(lambda: len(load.serials) >= 6 or load.failures, "five renewals", 120, every=0.1)
    assert load.stop() == []
