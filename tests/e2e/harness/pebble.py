"""Pebble and pebble-challtestsrv: a real ACME CA, and the DNS that it asks."""
import json
import socket
import ssl
import urllib.request

from .ports import free_port
from .process import Process


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
    whose nonce is refused, 5 as Pebble comes. `lifetime`: of certificates, in seconds. `blocked`:
    names that it refuses. With `start=False` it is down until start()."""

    def __init__(self, folder, authority, dns, http_port, tls_port, bad_nonces=5, authz_reuse=0,
                 always_valid=False, lifetime=90 * 86400, blocked=(), start=True):
        folder.mkdir()
        self._folder = folder
        self._authority = authority
        self._dns = dns
        self.port = free_port()
        self._management = free_port()
        files = authority.issue("localhost", "127.0.0.1", label="pebble")
        self.trust = authority.root  # what the client of the CA has to trust
        self.directory = f"https://localhost:{self.port}/dir"
        config = {"pebble": {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(files.chain), "privateKey": str(files.key),
            "httpPort": http_port, "tlsPort": tls_port,
            "certificateValidityPeriod": lifetime, "domainBlocklist": list(blocked),
            "ocspResponderURL": "", "externalAccountBindingRequired": False}}
        self._config = folder / "pebble.json"
        self._config.write_text(json.dumps(config))
        self._environment = {
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_WFE_NONCEREJECT": str(bad_nonces),
            "PEBBLE_AUTHZREUSE": str(authz_reuse),
            "PEBBLE_VA_ALWAYS_VALID": "1" if always_valid else "0"}
        self.root = folder / "roots.pem"  # what clients of the sites have to trust
        self.process = None
        if start:
            self.start()

    def start(self):
        """Keys and accounts of an earlier run are gone: Pebble keeps everything in memory."""
        self.process = Process(
            ["/usr/bin/pebble", "-config", self._config, "-dnsserver", self._dns],
            self._folder / "pebble.log", env=self._environment)
        self.process.wait_for(lambda: _accepts(f"127.0.0.1:{self.port}") and
                              _accepts(f"127.0.0.1:{self._management}"), "pebble answers")
        self.root.write_bytes(self._manage("/roots/0"))

    def _manage(self, path):
        context = ssl.create_default_context(cafile=str(self._authority.root))
        with urllib.request.urlopen(f"https://127.0.0.1:{self._management}{path}",
                                    context=context, timeout=10) as answer:
            return answer.read()

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
