"""Pebble and pebble-challtestsrv: a real ACME CA, and the DNS that it asks."""
import json
import os
import pathlib
import shutil
import socket
import ssl
import urllib.request

import pytest

from .ports import free_port
from .process import Process

# Debian's has neither profiles nor renewal information; tests/e2e/install-pebble builds this one.
CURRENT = pathlib.Path(__file__).parents[3] / "build/go/bin/pebble"


def need_current_pebble():
    """Skips the test where there is no current Pebble; fails on CI, where Go has to make one."""
    if CURRENT.exists():
        return
    why = "a current Pebble is needed: run tests/e2e/install-pebble with Go in PATH"
    if os.environ.get("CI") == "true" and shutil.which("go"):
        pytest.fail(why)
    pytest.skip(why)


class Challtestsrv:
    """DNS that gives 127.0.0.1 for every name."""

    def __init__(self, folder):
        self.dns = f"127.0.0.1:{free_port()}"
        self.management = f"127.0.0.1:{free_port()}"
        self.process = Process(
            ["/usr/bin/pebble-challtestsrv", "-defaultIPv6", "", "-defaultIPv4", "127.0.0.1",
             "-dns01", self.dns, "-management", self.management,
             "-http01", "", "-https01", "", "-tlsalpn01", ""],
            folder / "challtestsrv.log")
        self.process.wait_for(lambda: _accepts(self.management), "challtestsrv answers")

    def close(self):
        self.process.stop()


def _accepts(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
        return True
    except OSError:
        return False


class Pebble:
    """Validates at `http_port` and `tls_port` of 127.0.0.1. `bad_nonces`: per cent of requests
    whose nonce is refused, 5 as Pebble comes. `authz_reuse`: per cent of names whose valid
    authorization is used again. `lifetime`: of certificates, in seconds. `blocked`: names that it
    refuses. `eab`: {kid: HMAC key}, accounts only with one of them. `chain_length`: intermediates
    below the root; `alternate_roots`: as many chains besides the default one. `current`: not
    Debian's; then also `profiles`, {name: lifetime}, and renewal information. `retry_after`: in
    seconds, of what is not ready. `responder`: the OCSP URL in its certificates. With
    `start=False` it is down until start()."""

    def __init__(self, folder, authority, dns, http_port, tls_port, bad_nonces=5, authz_reuse=0,
                 always_valid=False, lifetime=90 * 86400, blocked=(), eab=None, chain_length=1,
                 alternate_roots=0, current=False, profiles=None, retry_after=0, start=True,
                 responder=""):
        if current:
            need_current_pebble()
        folder.mkdir()
        self._folder = folder
        self._authority = authority
        self._dns = dns
        self._program = CURRENT if current else "/usr/bin/pebble"
        self.port = free_port()
        self._management = free_port()
        files = authority.issue("localhost", "127.0.0.1", label=f"pebble-{self.port}")
        self.trust = authority.root  # what the client of the CA has to trust
        self.directory = f"https://localhost:{self.port}/dir"
        pebble = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(files.chain), "privateKey": str(files.key),
            "httpPort": http_port, "tlsPort": tls_port,
            "domainBlocklist": list(blocked), "ocspResponderURL": responder,
            "externalAccountBindingRequired": bool(eab), "externalAccountMACKeys": eab or {}}
        if current:
            # ECDSA starts faster, but only RSA keys are given away: see issuer().
            pebble["keyAlgorithm"] = "rsa" if responder else "ecdsa"
            pebble["retryAfter"] = {"authz": retry_after, "order": retry_after}
            pebble["profiles"] = {
                name: {"description": f"the profile {name}", "validityPeriod": seconds}
                for name, seconds in (profiles or {"default": lifetime}).items()}
        else:
            pebble["certificateValidityPeriod"] = lifetime
        self._config = folder / "pebble.json"
        self._config.write_text(json.dumps({"pebble": pebble}))
        self._environment = {
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_WFE_NONCEREJECT": str(bad_nonces),
            "PEBBLE_AUTHZREUSE": str(authz_reuse),
            "PEBBLE_VA_ALWAYS_VALID": "1" if always_valid else "0",
            "PEBBLE_CHAIN_LENGTH": str(chain_length),
            "PEBBLE_ALTERNATE_ROOTS": str(alternate_roots)}
        self.root = folder / "roots.pem"  # what clients of the sites have to trust
        self.process = None
        if start:
            self.start()

    def start(self):
        """Keys and accounts of an earlier run are gone: Pebble keeps everything in memory."""
        self.process = Process(
            [self._program, "-config", self._config, "-dnsserver", self._dns],
            self._folder / "pebble.log", env=self._environment)
        self.process.wait_for(lambda: _accepts(f"127.0.0.1:{self.port}") and
                              _accepts(f"127.0.0.1:{self._management}"), "pebble answers")
        self.root.write_bytes(self.root_certificate())

    def _manage(self, path, document=None):
        context = ssl.create_default_context(cafile=str(self._authority.root))
        request = urllib.request.Request(
            f"https://127.0.0.1:{self._management}{path}",
            data=None if document is None else json.dumps(document).encode(),
            headers={"User-Agent": "tests"})
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            return answer.read()

    def root_certificate(self, number=0):
        """PEM of a root: 0 is that of the default chain, the alternate ones follow."""
        return self._manage(f"/roots/{number}")

    def issuer(self):
        """(certificate, key) in PEM of what signs the certificates."""
        return self._manage("/intermediates/0"), self._manage("/intermediate-keys/0")

    def set_renewal_info(self, certificate_pem, answer):
        """What it answers, literally, when asked about the renewal of this certificate."""
        self._manage("/set-renewal-info/", {"Certificate": certificate_pem, "ARIResponse": answer})

    @property
    def log(self):
        """Of all its runs."""
        return (self._folder / "pebble.log").read_text(errors="replace")

    def orders(self):
        """How many orders were made; a request that was turned away for its nonce made none."""
        return self.log.count("Added order ")

    def count(self, endpoint):
        """How often an endpoint was called, also in vain for a bad nonce: "order-plz" (new
        orders), "sign-me-up" (accounts), "finalize-order"."""
        return self.log.count(f"POST /{endpoint}")

    def close(self):
        if self.process:
            self.process.stop()
            self.process = None
