"""Certificates are exchanged while requests and handshakes go on: none of them fails."""
import re
import signal
import subprocess
import threading

import pytest

from harness.http1 import Client, tls_context
from harness.waiting import wait_until


class Load:
    """Clients that open a verified connection for each request and clients that keep theirs."""

    def __init__(self, front, roots, name, threads=2):
        self.failures = []
        self.serials = set()
        self.requests = 0
        self._front, self._name = front, name
        self._context = tls_context(roots)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(kept,), daemon=True)
                         for kept in (False, True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self, kept):
        client = None
        try:
            while not self._stop.is_set():
                if client is None:
                    client = Client(("127.0.0.1", self._front.https), tls=self._name,
                                    context=self._context)
                    self.serials.add(client.socket.getpeercert()["serialNumber"])
                answer = client.exchange(host=self._name)
                assert answer.status == 200, answer
                self.requests += 1
                if not kept:
                    client.close()
                    client = None
        except Exception as error:  # any failure at all is what the test is about
            self.failures.append(repr(error))

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(15)
        return self.failures


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
