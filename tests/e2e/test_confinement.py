"""Workers are confined (faults.md 4.1, 4.3), and all that they are for goes on."""
import errno
import os
import pathlib
import platform
import signal
import ssl

import pytest

from harness.http1 import Client, tls_context
from harness.mdfront import BINARY, IS_SANITIZED
from harness.process import Process
from harness.seccomp import forbid
from harness.waiting import wait_until

pytestmark = pytest.mark.skipif(IS_SANITIZED or b"__tsan_init" in BINARY.read_bytes(),
                                reason="sanitizers' runtimes open files")

LANDLOCK_CREATE_RULESET = 444
SECCOMP = 317 if platform.machine() == "x86_64" else 277


def threads(front):
    """(name, status fields) of each thread."""
    for task in pathlib.Path(f"/proc/{front.process.pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        yield fields["Name"].strip(), {key: value.strip() for key, value in fields.items()}


def is_worker(name):
    return name == "admin" or name.startswith("worker ")


@pytest.mark.core
def test_workers_are_confined_and_others_are_not(mdfront, site, backend):
    front = mdfront([site(backend)], server={"workers": 2})
    assert front.get().status == 200
    workers = [fields for name, fields in threads(front) if is_worker(name)]
    assert len(workers) == 3
    for fields in workers:
        assert (fields["Seccomp"], fields["NoNewPrivs"]) == ("2", "1")
    others = [fields for name, fields in threads(front) if not is_worker(name)]
    assert others
    ours = pathlib.Path("/proc/self/status").read_text()  # a container may give all a filter
    before = [line.split()[1] for line in ours.splitlines() if line.startswith("Seccomp:")][0]
    assert {fields["Seccomp"] for fields in others} == {before}
    assert "Landlock: " not in front.log and "seccomp: " not in front.log


@pytest.mark.core
def test_confined_workers_serve_reload_and_drain(mdfront, site, backend, raw_backend, folder,
                                                 authority):
    by_path = raw_backend(unix=folder / "backend.sock")
    first = authority.issue("example.test", label="confined")
    front = mdfront([site(backend, files=first, hosts=["example.test"]),
                     site(by_path, hosts=["a.wild.test"])])
    context = tls_context(authority.root)

    def shown():
        with Client(("127.0.0.1", front.https), tls="example.test", context=context) as client:
            assert client.exchange().status == 200
            return int(client.socket.getpeercert()["serialNumber"], 16)

    def serves():
        for host in ("example.test", "a.wild.test"):
            with front.connect(host) as client:
                for body in (b"", b"x" * 300_000):
                    assert client.exchange("POST", host=host, body=body).body == b"ok"
        assert front.get_admin("/").status == 200

    serves()
    assert backend.requests and by_path.requests
    assert shown() == first.certificate.serial_number

    new = authority.issue("example.test", label="confined")
    front.send_signal(signal.SIGHUP)
    wait_until(lambda: shown() == new.certificate.serial_number, "the new certificate is served")

    other = raw_backend(unix=folder / "other.sock")  # the pool opens connections anew
    front.document["site"][1]["backend"] = other.address
    front.write_config()
    front.send_signal(signal.SIGHUP)
    wait_until(lambda: front.get(host="a.wild.test").status == 200 and other.requests,
               "the new backend is used")

    wait_until(lambda: front.access_log, "the first lines in the access log")
    os.rename(front.access_log_path, front.access_log_path.with_suffix(".1"))
    front.send_signal(signal.SIGUSR1)
    front.process.wait_for_log("SIGUSR1")
    serves()
    wait_until(lambda: front.access_log, "a line in the new access log")

    with front.connect() as client:
        assert client.exchange().status == 200
        front.send_signal(signal.SIGTERM)
        assert front.process.wait() == 0
        with pytest.raises((OSError, ssl.SSLError)):
            Client(("127.0.0.1", front.https)).close()


@pytest.mark.parametrize("number,code,message", [
    (LANDLOCK_CREATE_RULESET, errno.ENOSYS, "info  app    this kernel has no Landlock"),
    (LANDLOCK_CREATE_RULESET, errno.EPERM, "warn  app    Landlock: Operation not permitted (1);"),
    (SECCOMP, errno.EINVAL, "warn  app    seccomp: Invalid argument (22);")])
def test_without_the_kernels_help_it_says_so_and_serves(
        mdfront, site, backend, number, code, message):
    front = mdfront([site(backend)], start=False)
    front.process = Process([BINARY, "run", "--config", front.config], front.folder / "mdfront.log",
                            prepare=forbid(number, code))
    front.process.wait_for_log(message)
    front.process.wait_for_log(" serves ")
    assert front.get().body == b"ok"
