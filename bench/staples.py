#!/usr/bin/python3
"""What staples cost: a start with N domains whose OCSP answers are in the store, and a handshake
with and without one. Usage: bench/staples.py [--domains 10000] [--handshakes 2000]
The store is made by this program (all of it valid); nobody is asked: answers are fresh."""
import argparse
import base64
import datetime
import hashlib
import json
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/e2e"))
from harness.mdfront import BINARY  # noqa: E402
from harness.ports import free_port  # noqa: E402

NOW = datetime.datetime.utcnow().replace(microsecond=0)
DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def http_date(when):
    return when.strftime("%a, %d %b %Y %H:%M:%S GMT")


def make_store(store, count):
    ca_key = ec.generate_private_key(ec.SECP256R1())
    builder = (x509.CertificateBuilder().subject_name(name("bench")).issuer_name(name("bench"))
               .public_key(ca_key.public_key()).serial_number(1).not_valid_before(NOW - DAY)
               .not_valid_after(NOW + 900 * DAY)
               .add_extension(x509.BasicConstraints(True, None), True))
    ca = builder.sign(ca_key, hashes.SHA256())
    for number in range(count):
        host = f"d{number}.test"
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = (x509.CertificateBuilder().subject_name(name(host)).issuer_name(name("bench"))
                .public_key(key.public_key()).serial_number(number + 2)
                .not_valid_before(NOW - DAY).not_valid_after(NOW + 80 * DAY)
                .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False)
                .add_extension(x509.AuthorityInformationAccess([x509.AccessDescription(
                    AuthorityInformationAccessOID.OCSP,
                    x509.UniformResourceIdentifier("http://127.0.0.1:9/"))]), False)
                .sign(ca_key, hashes.SHA256()))
        answer = (ocsp.OCSPResponseBuilder().add_response(
            leaf, ca, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, NOW, NOW + 7 * DAY, None, None)
            .responder_id(ocsp.OCSPResponderEncoding.HASH, ca).sign(ca_key, hashes.SHA256()))
        response = answer.public_bytes(serialization.Encoding.DER)
        domain = store / "domains" / host
        domain.mkdir(parents=True)
        (domain / "pubcert.p-256.pem").write_bytes(leaf.public_bytes(PEM) + ca.public_bytes(PEM))
        (domain / "privkey.p-256.pem").write_bytes(key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        staples = store / "ocsp" / host
        staples.mkdir(parents=True)
        digest = hashlib.sha1(leaf.public_bytes(serialization.Encoding.DER)).hexdigest()
        text = base64.urlsafe_b64encode
        (staples / f"ocsp-{digest}.json").write_text(json.dumps({
            "response": text(response).decode().rstrip("="), "status": "good",
            "valid": {"from": http_date(NOW), "until": http_date(NOW + 7 * DAY)},
            "verified-sha256": text(hashlib.sha256(response).digest()).decode().rstrip("=")}))


class Running:
    def __init__(self, folder, count, stapling):
        self.https = free_port()
        hosts = [f"d{number}.test" for number in range(count)]
        lines = [f'[[listen]]\naddress = "127.0.0.1:{self.https}"\nprotocol = "https"\n',
                 '[server]\nworkers = 1\nlog_level = "error"\n',
                 f'[md]\nstore_dir = "{folder}/store"\nprivate_keys = ["P-256"]\n'
                 'renew_mode = "manual"\n'
                 f'stapling = {str(stapling).lower()}\nrevocation_check = "off"\n']
        lines += [f'[[md.domain]]\nnames = ["{host}"]\n' for host in hosts]
        lines += [f'[[site]]\nhosts = ["{host}"]\nbackend = "127.0.0.1:9"\n' for host in hosts]
        config = folder / "mdfront.toml"
        config.write_text("\n".join(lines))
        begun = time.monotonic()
        self.process = subprocess.Popen([BINARY, "run", "-c", config], stderr=subprocess.PIPE)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.https), 1).close()
                break
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(self.process.stderr.read().decode())
                time.sleep(0.005)
        self.start = time.monotonic() - begun
        self.start_cpu = self.cpu()

    def _status(self, key):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split(f"{key}:")[1].split()[0])

    def rss(self):
        return self._status("VmRSS") / 1024

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1]
        return sum(int(one) for one in fields.split()[11:13]) / 100

    def wait_until_idle(self):
        """What a start leaves to be done in the background is done."""
        while True:
            before = self.cpu()
            time.sleep(1)
            if self.cpu() - before < 0.02:
                return

    def is_stapled(self, number):
        text = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{self.https}", "-status",
             "-servername", f"d{number}.test"], input="", capture_output=True, text=True).stdout
        return "OCSP Response Status: successful" in text

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def handshakes(running, count, ask):
    """CPU microseconds of mdfront's for a full handshake."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{running.https}", "-servername",
               "d0.test", *(["-status"] if ask else [])]
    before = running.cpu()
    for _ in range(count):
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)
    return (running.cpu() - before) / count * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--domains", type=int, default=10_000)
    parser.add_argument("--handshakes", type=int, default=1_000)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mdfront-staples-"))
    try:
        make_store(folder / "store", options.domains)
        found = {}
        # The first start with other settings writes them to the store.
        for stapling in (False, False, True, True):
            running = Running(folder, options.domains, stapling)
            running.wait_until_idle()
            found[stapling] = (running.start, running.start_cpu, running.rss())
            stapled = running.is_stapled(options.domains - 1)
            assert stapled == stapling, "not as configured"
            running.stop()
        for stapling, (start, cpu, rss) in found.items():
            print(f"stapling {'on ' if stapling else 'off'}  start {start:.2f} s, {cpu:.2f} s of "
                  f"CPU  rss {rss:.1f} MiB")
        each = (found[True][2] - found[False][2]) * 1024 / options.domains
        cpu = (found[True][1] - found[False][1]) / options.domains * 1e6
        print(f"for each staple: {each:.2f} KiB, {cpu:.0f} us of CPU at the start")
        running = Running(folder, options.domains, True)
        running.wait_until_idle()
        without = handshakes(running, options.handshakes, False)
        staple = handshakes(running, options.handshakes, True)
        running.stop()
        print(f"handshake: {without:.0f} us without a staple, {staple:.0f} us with one, "
              f"ratio {staple / without:.3f}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
