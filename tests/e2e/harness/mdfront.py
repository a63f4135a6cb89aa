"""The program under test."""
import json
import fcntl
import os
import pathlib
import pty
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios

from .http1 import Client, Closed
from .ports import free_port
from .process import Process
from .toml import to_toml

BINARY = pathlib.Path(os.environ.get(
    "MDFRONT_BIN", pathlib.Path(__file__).parents[3] / "build/release/mdfront")).resolve()

# What sanitizers, assertions and the C++ runtime print; none of it may ever be in a log.
_BUGS = ("AddressSanitizer", "LeakSanitizer", "runtime error:", "ThreadSanitizer",
         "terminate called", "Assertion", "check failed")

# Two memory limits of faults.md (64 MiB, 20 KiB a connection) are about the program, not about the
# sanitizers' shadow and quarantine.
IS_SANITIZED = b"__asan_init" in BINARY.read_bytes() if BINARY.exists() else False


def run_command(*arguments, timeout=20, env=None, **options):
    """Runs the binary to its end; gives a CompletedProcess with text."""
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True,
                          timeout=timeout, env={**os.environ, **(env or {})}, **options)


def run_in_terminal(*arguments, columns=80, timeout=20, env=None):
    """Runs the binary in a terminal that is so wide; gives (exit code, what it showed)."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([BINARY, *map(str, arguments)], stdin=theirs, stdout=theirs,
                               stderr=theirs, close_fds=True,
                               env={**os.environ, "TERM": "xterm", **(env or {})})
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:
        pass  # EIO: nobody has the other end any more
    finally:
        os.close(ours)
    return process.wait(timeout), shown.decode().replace("\r\n", "\n")


class Mdfront:
    """Started with a configuration of its own in `folder`. Ports: https, http, admin. The first two
    are listened on at each of `addresses`, which may be "[::]". With `socket_too` the admin
    listener has a Unix socket, too; `admin` adds keys to [admin]."""

    def __init__(self, folder, sites, backends=(), md=None, domains=(), limits=None, server=None,
                 more=None, https=None, http=None, start=True, files_max=None, env=None,
                 addresses=("127.0.0.1",), socket_too=False, admin=None, mounts=None, prepare=None):
        folder.mkdir(parents=True, exist_ok=True)
        if server and "user" in server and os.geteuid() == 0:  # who makes the access log there
            shutil.chown(folder, server["user"])
        self.folder = folder
        self.https = https or free_port()
        self.http = http or free_port()
        self.admin = free_port()
        self.config = folder / "mdfront.toml"
        self.access_log_path = folder / "access.log"
        self.store = folder / "md"
        self._log = folder / "mdfront.log"
        self._files_max = files_max
        self.prepare = prepare  # called in the child before the program
        # Shell commands that give it mounts of its own: a full or a read-only disk.
        self.mounts = mounts
        self._env = env or {}
        self.document = {
            "server": {"workers": 1, "drain_timeout": "5s",
                       "access_log": {"path": str(self.access_log_path)}, **(server or {})},
            "admin": {"listen": [f"127.0.0.1:{self.admin}"], **(admin or {})},
            "listen": [{"address": f"{address}:{port}", "protocol": protocol}
                       for address in addresses
                       for port, protocol in ((self.https, "https"), (self.http, "http"))],
            "limits": limits or {},
            "md": {"store_dir": str(self.store),
                   "port_map": [f"80:{self.http}", f"443:{self.https}"], **(md or {})},
            "backend": list(backends),
            "site": list(sites),
            **(more or {})}
        self._socket_folder = None
        if socket_too:  # where pytest's folders are, paths are too long for it
            self._socket_folder = tempfile.TemporaryDirectory(prefix="mdfront-")
            self.socket = pathlib.Path(self._socket_folder.name) / "admin.sock"
            self.document["admin"]["listen"].append(f"unix:{self.socket}")
        if domains:
            self.document["md"]["domain"] = list(domains)
        if not self.document["backend"]:
            del self.document["backend"]
        self.process = None
        self.may_end_badly = False  # for tests that kill it
        self.write_config()
        if start:
            self.start()

    def restart(self, sites=None, md=None, domains=None):
        """Ends it well and starts it with another configuration: `sites` and `domains` in the place
        of the old ones, `md` beside its keys (None takes a key away)."""
        if self.process:
            assert self.stop() == 0, self.log
        if sites is not None:
            self.document["site"] = list(sites)
        if domains is not None:
            self.document["md"]["domain"] = list(domains)
        for key, value in (md or {}).items():
            if value is None:
                self.document["md"].pop(key, None)
            else:
                self.document["md"][key] = value
        if not self.document["md"].get("domain"):
            self.document["md"].pop("domain", None)
        self.write_config()
        self.start()

    def write_config(self, text=None):
        self.config.write_text(text if text is not None else to_toml(self.document))

    def start(self):
        argv = [BINARY, "run", "--config", self.config]
        if self.mounts:
            argv = ["/usr/bin/unshare", "-m", "/bin/sh", "-e", "-c",
                    self.mounts + '\nexec "$@"', "sh", *argv]
        self.process = Process(
            argv, self._log, files_max=self._files_max, prepare=self.prepare,
            env={"ASAN_OPTIONS": "detect_stack_use_after_return=1", **self._env})
        self.process.wait_for(self._answers, "mdfront answers", timeout=60)

    def _answers(self):
        try:
            for listen in self.document["listen"]:
                host, port = listen["address"].rsplit(":", 1)
                socket.create_connection((host.strip("[]"), int(port)), 2).close()
            return self.get_admin("/healthz").status == 200
        except (OSError, Closed):
            # After a kill the kernel closes the old process's sockets a moment later than itself:
            # until then a connection may still be given to one of them.
            return False

    # Talking to it

    def connect(self, host="example.test", roots=None, **options):
        """A TLS connection with `host` as SNI."""
        return Client(("127.0.0.1", self.https), tls=host, roots=roots, **options)

    def connect_plain(self, **options):
        return Client(("127.0.0.1", self.http), **options)

    def get(self, target="/", host="example.test", roots=None, **options):
        """One GET on a new TLS connection."""
        with self.connect(host, roots) as client:
            return client.exchange(target=target, host=host, **options)

    def get_plain(self, target="/", host="example.test", **options):
        with self.connect_plain() as client:
            return client.exchange(target=target, host=host, **options)

    def get_admin(self, target, host="localhost", **options):
        with Client(("127.0.0.1", self.admin)) as client:
            return client.exchange(target=target, host=host, **options)

    def status(self, name=None):
        """md-status as JSON: of one domain, or of all."""
        answer = self.get_admin("/md-status" + (f"/{name}" if name else "/"))
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def command(self, *arguments, **options):
        """`mdfront certs list` and so on, with its configuration."""
        return run_command(*arguments, "--config", self.config, **options)

    # Its process

    @property
    def log(self):
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def access_log(self):
        """Its lines; the file comes with the first."""
        if not self.access_log_path.exists():
            return []
        return self.access_log_path.read_text().splitlines()

    @property
    def rss(self):
        """Resident memory in bytes."""
        return self.process.status("VmRSS") * 1024

    @property
    def rss_peak(self):
        return self.process.status("VmHWM") * 1024

    def send_signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """SIGKILL: what it had not made durable is lost."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self, timeout=20.0):
        """SIGTERM; gives the exit code."""
        code = self.process.stop(signal.SIGTERM, timeout)
        self.process = None
        return code

    def close(self):
        """The end of a test: it must stop cleanly and have no bug in its log."""
        code = self.stop() if self.process else 0
        if self._socket_folder:
            self._socket_folder.cleanup()
        for word in _BUGS:
            assert word not in self.log, f"{word} in the log:\n{self.log}"
        assert code == 0 or self.may_end_badly, f"mdfront ended with {code}; log:\n{self.log}"
