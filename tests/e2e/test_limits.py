"""What the system limits: descriptors and locked memory are divided before anything is served."""
import os
import platform
import re
import resource
import signal
import socket
import time

import pytest

from harness.waiting import wait_until

NOBODY = 65534


def connections_told(front):
    """Client connections per worker, as the log says at the start."""
    return int(re.search(r"take (\d+) client connections each", front.log)[1])


def test_the_start_tells_how_descriptors_are_divided_and_what_to_change(mdfront, site, backend):
    front = mdfront([site(backend)], files_max=256)
    line = next(line for line in front.log.splitlines() if "of 256 descriptors" in line)
    assert " warn " in line
    for words in ("not the 65536 of limits.connections_max", "LimitNOFILE=", "ulimit -n"):
        assert words in line
    small = mdfront([site(backend)], limits={"connections_max": 10})
    line = next(line for line in small.log.splitlines() if " descriptors " in line)
    assert " info " in line and "LimitNOFILE" not in line
    assert connections_told(small) == 10


def answer_and_close(connection):
    """Each request needs a connection of its own."""
    connection.read_request()
    connection.answer(fields=[("Connection", "close")])
    connection.close()


def test_idle_clients_leave_descriptors_for_backends_and_the_store(mdfront, site, backend):
    limit = 128
    front = mdfront([site(backend)], files_max=limit, limits={"idle_timeout": "60s"})
    allowed = connections_told(front)
    assert 10 < allowed < limit / 2
    backend.script = answer_and_close
    with front.connect_plain() as good:
        assert good.exchange().status == 200
        # Four times the limit, all at once: one accept may take a whole backlog.
        front.send_signal(signal.SIGSTOP)
        crowd = [socket.create_connection(("127.0.0.1", front.http), 20)
                 for _ in range(4 * limit)]
        front.send_signal(signal.SIGCONT)
        try:
            wait_until(lambda: front.process.open_files() >= allowed, "the crowd is let in")
            for _ in range(20):
                assert front.process.open_files() <= limit - allowed // 2
                time.sleep(0.02)
            for _ in range(5):
                assert good.exchange().status == 200
            assert front.get_admin("/healthz").status == 200
            assert "Too many open files" not in front.log
        finally:
            for one in crowd:
                one.close()
    wait_until(lambda: front.get().status == 200, "new clients are served again")


def test_every_client_that_is_let_in_gets_a_backend(mdfront, site, backend):
    front = mdfront([site(backend)], files_max=128)
    clients = []
    try:
        for _ in range(connections_told(front)):
            clients.append(front.connect_plain())
        for client in clients:
            client.request(method="POST", fields=["Transfer-Encoding: chunked"])
            client.send(b"1\r\na\r\n")  # holds its backend connection
        for client in clients:
            client.send(b"0\r\n\r\n")
            assert client.read_response().status == 200
    finally:
        for client in clients:
            client.close()
    assert "Too many open files" not in front.log


def test_a_reload_that_raises_connections_max_is_told_what_comes_of_it(mdfront, site, backend):
    front = mdfront([site(backend)], files_max=256, limits={"connections_max": 20})
    assert connections_told(front) == 20
    front.document["limits"]["connections_max"] = 5000
    front.write_config()
    for times in (1, 2):  # each reload says so, as long as it is not in effect
        front.send_signal(signal.SIGHUP)
        front.process.wait_for(
            lambda times=times: front.log.count("at the next start: of 256 descriptors") == times
            and front.log.count("SIGHUP: limits.connections_max takes effect") == times,
            "the reload tells of it")
    assert "not the 5000 of limits.connections_max" in front.log
    assert front.get().status == 200


def test_too_few_descriptors_for_any_client_refuse_the_start(mdfront, site, backend):
    front = mdfront([site(backend)], server={"workers": 16}, files_max=64, start=False)
    with pytest.raises(AssertionError, match="ended with 1"):
        front.start()
    assert re.search(r"64 descriptors are too few for 16 worker\(s\).*LimitNOFILE=", front.log)
    front.process = None


def start_as_nobody(front, locked_bytes):
    """Without privileges, and with so much memory that may be locked."""
    def prepare():
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (locked_bytes, locked_bytes))
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    for path in (front.folder, front.config):
        os.chown(path, NOBODY, NOBODY)
    front.prepare = prepare
    front.start()


def counts_locked_memory():
    version = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
    return version < (5, 12) or version >= (6, 14)


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_64_workers_start_within_the_usual_locked_memory(mdfront, backend):
    sites = [{"hosts": ["example.test"], "backend": backend.address}]
    front = mdfront(sites, server={"workers": 64}, start=False)
    start_as_nobody(front, 8 * 1024 * 1024)
    assert "64 worker(s)" in front.log
    assert front.get_plain().status == 200
    assert ("64 worker(s) have smaller io_uring queues" in front.log) == counts_locked_memory()


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
@pytest.mark.skipif(not counts_locked_memory(), reason="this kernel does not count locked memory")
def test_little_locked_memory_leaves_workers_out_and_says_so(mdfront, backend):
    sites = [{"hosts": ["example.test"], "backend": backend.address}]
    front = mdfront(sites, server={"workers": 16}, start=False)
    start_as_nobody(front, 512 * 1024)
    line = next(line for line in front.log.splitlines() if "locked memory" in line)
    assert " warn " in line and "not of 16" in line and "LimitMEMLOCK=" in line
    assert front.get_plain().status == 200
    # The next one starts although the kernel takes a moment to give the memory back.
    front.restart()
    assert front.get_plain().status == 200
