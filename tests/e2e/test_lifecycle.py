"""Signals: drain, stop now, reload, reopen logs; and what is left behind (nothing)."""
import os
import pwd
import signal
import ssl
import threading
import time

import pytest

from harness.http1 import Client, Closed, tls_context
from harness.ports import free_port
from harness.waiting import wait_until


def slow_answer(may_end):
    """A backend that sends half of its answer and waits."""

    def script(connection):
        connection.read_request()
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        assert may_end.wait(15)
        connection.send("half")
        connection.wait_for_end()

    return script


@pytest.mark.threads
@pytest.mark.core
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_finished_before_the_end(front, backend, number):
    may_end = threading.Event()
    backend.script = slow_answer(may_end)
    with front.connect() as client, front.connect() as idle:
        client.request()
        head = client.read_head()
        assert head.status == 200
        front.send_signal(number)
        assert idle.is_closed_by_server()

        def refuses():
            try:
                Client(("127.0.0.1", front.https)).close()
                return False
            except ConnectionRefusedError:
                return True

        wait_until(refuses, "no new connections are taken")
        assert front.process.is_running()
        may_end.set()
        assert client._exactly(8) == b"halfhalf"
    assert front.process.wait() == 0


@pytest.mark.threads
@pytest.mark.core
def test_a_second_sigterm_ends_at_once(front, backend):
    backend.script = slow_answer(threading.Event())
    front.may_end_badly = True
    with front.connect() as client:
        client.request()
        assert client.read_head().status == 200
        front.send_signal(signal.SIGTERM)
        front.process.wait_for_log("finishing")
        front.send_signal(signal.SIGTERM)
        at = time.monotonic()
        code = front.process.wait(5)
        assert time.monotonic() - at < 2
        assert code in (0, 3)
        with pytest.raises(Closed):
            client._exactly(8)
    for connection in backend.connections:
        connection.close()


@pytest.mark.threads
def test_the_drain_timeout_cuts_what_does_not_end(mdfront, site, backend):
    may_end = threading.Event()
    backend.script = slow_answer(may_end)
    front = mdfront([site(backend)], server={"drain_timeout": "1s"})
    front.may_end_badly = True
    with front.connect() as client:
        client.request()
        assert client.read_head().status == 200
        at = time.monotonic()
        front.send_signal(signal.SIGTERM)
        assert front.process.wait(10) in (0, 3)
        assert 0.8 < time.monotonic() - at < 5
    may_end.set()


@pytest.mark.core
def test_deadlines_count_from_now_after_a_time_without_events(mdfront, site, backend):
    front = mdfront([site(backend)], limits={
        name: "500ms" for name in ("handshake_timeout", "head_timeout", "idle_timeout",
                                   "backend_response_timeout")})
    for get in (front.get_plain, front.get, front.get_plain):
        time.sleep(1)  # that nothing happens in this time is the condition
        assert get().status == 200


@pytest.mark.threads
@pytest.mark.core
def test_usr1_opens_the_access_log_anew(front):
    front.get("/one")
    wait_until(lambda: front.access_log, "a line")
    rotated = front.access_log_path.with_suffix(".1")
    front.access_log_path.rename(rotated)
    front.send_signal(signal.SIGUSR1)
    front.process.wait_for_log("SIGUSR1")
    front.get("/two")
    wait_until(lambda: front.access_log, "a line in the new file")
    assert "/two" in front.access_log[0]
    assert "/two" not in rotated.read_text()


@pytest.mark.core
def test_hup_with_a_mistake_changes_nothing(front, authority):
    front.write_config("[[listen]]\naddres = 1\n")
    front.send_signal(signal.SIGHUP)
    front.process.wait_for_log("addres")
    for _ in range(5):
        assert front.get(roots=authority.root).status == 200
    front.config.unlink()
    front.send_signal(signal.SIGHUP)
    wait_until(lambda: "mdfront.toml" in front.log, "a message")
    assert front.get().status == 200


@pytest.mark.threads
@pytest.mark.core
def test_hup_puts_new_sites_and_backends_in_place_and_old_requests_end_well(
        front, backend, raw_backend, site):
    may_end = threading.Event()
    backend.script = slow_answer(may_end)
    with front.connect() as client:
        client.request()
        assert client.read_head().status == 200
        other = raw_backend()
        front.document["site"] = [site(other), site(other, hosts=["a.wild.test"])]
        front.write_config()
        front.send_signal(signal.SIGHUP)

        def is_new():
            try:
                return front.get(host="a.wild.test").status == 200
            except (OSError, ssl.SSLError):
                return False

        wait_until(is_new, "the new site is served")
        assert front.get().body == b"ok"
        may_end.set()
        assert client._exactly(8) == b"halfhalf"
        assert client.exchange().status == 200  # the old connection, the new backend
    assert len(other.requests) >= 3


def test_hup_says_what_takes_effect_at_the_next_start_only(front):
    front.document["listen"].append({"address": f"127.0.0.1:{free_port()}", "protocol": "http"})
    front.write_config()
    front.send_signal(signal.SIGHUP)
    front.process.wait_for_log("takes effect at the next start")
    assert front.get().status == 200


@pytest.mark.long
def test_two_hundred_reloads_under_load_lose_no_request_and_leak_nothing(front):
    failures = []
    stop = threading.Event()

    def load():
        context = tls_context()
        while not stop.is_set():
            try:
                with Client(("127.0.0.1", front.https), tls="example.test",
                            context=context) as client:
                    assert client.exchange().status == 200
            except Exception as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=load, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        front.send_signal(signal.SIGHUP)
        front.get()
    files, memory = front.process.open_files(), front.rss
    for _ in range(200):
        front.send_signal(signal.SIGHUP)
        assert front.get().status == 200
    stop.set()
    for thread in threads:
        thread.join(10)
    assert failures == []
    assert front.process.open_files() <= files + 20
    assert front.rss < memory + 8 * 1024 * 1024


@pytest.mark.parametrize("number", [signal.SIGPIPE, signal.SIGWINCH, signal.SIGCHLD,
                                    signal.SIGUSR2, signal.SIGURG])
def test_other_signals_do_not_end_it(front, number):
    front.send_signal(number)
    for _ in range(3):
        assert front.get().status == 200
    assert front.process.is_running()


def test_stop_and_continue_go_unnoticed_by_waiting_clients(front):
    with front.connect() as client:
        assert client.exchange().status == 200
        front.send_signal(signal.SIGSTOP)
        client.request()
        front.send_signal(signal.SIGCONT)
        assert client.read_response().status == 200


def test_running_out_of_descriptors_stops_neither_accepting_nor_the_process(mdfront, site, backend):
    front = mdfront([site(backend)], files_max=96)
    clients = []
    for _ in range(120):  # the backlog takes those that cannot be accepted
        clients.append(Client(("127.0.0.1", front.https), timeout=20))
    before = os.times()
    assert front.process.is_running()
    for client in clients:
        client.close()

    def answers():
        try:
            return front.get().status == 200
        except OSError:
            return False

    wait_until(answers, f"it serves again; log:\n{front.log}", 20)
    assert os.times().elapsed - before.elapsed < 20


@pytest.mark.long
def test_ten_thousand_connections_leave_no_descriptor_and_no_memory_behind(front):
    for _ in range(500):
        front.get()
    files, memory = front.process.open_files(), front.rss
    for _ in range(3000):
        assert front.get().status == 200
    wait_until(lambda: front.process.open_files() <= files + 4, "descriptors are closed")
    assert front.rss < memory + 8 * 1024 * 1024


def test_privileges_are_dropped_to_the_configured_user(mdfront, site, backend, folder):
    if os.geteuid() != 0:
        pytest.skip("not root")
    folder.chmod(0o777)
    front = mdfront([site(backend)], server={"user": "www-data"}, start=False)
    front.folder.chmod(0o777)
    front.start()
    with open(f"/proc/{front.process.pid}/status", encoding="ascii") as file:
        uids = [line.split()[1:] for line in file if line.startswith("Uid:")][0]
    assert set(uids) == {str(pwd.getpwnam("www-data").pw_uid)}
    assert front.get().status == 200
    front.send_signal(signal.SIGHUP)
    assert front.get().status == 200
