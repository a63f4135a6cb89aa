"""Child processes that never outlive the tests, with their output in a file."""
import ctypes
import os
import resource
import signal
import subprocess

from .waiting import wait_until

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def die_with_parent():
    """For preexec_fn: the child gets SIGTERM when the test process dies, however that happens."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """A started program. `log` holds all it wrote. `prepare` is called in the child before it."""

    def __init__(self, argv, log, env=None, cwd=None, files_max=None, prepare=None):
        self.argv = [str(part) for part in argv]
        self.log_path = log

        def in_child():
            die_with_parent()
            if prepare:
                prepare()
            if files_max:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))

        with open(log, "ab") as output:
            self.popen = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})}, cwd=cwd, preexec_fn=in_child,
                start_new_session=True)

    @property
    def pid(self):
        return self.popen.pid

    @property
    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def is_running(self):
        return self.popen.poll() is None

    def send_signal(self, number):
        self.popen.send_signal(number)

    def wait(self, timeout=10.0):
        """Its exit code; fails if it does not end in time."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.argv[0]} did not end within {timeout:g} s; log:\n{self.log}") from None

    def wait_for(self, condition, what, timeout=60.0):
        """wait_until() that stops at once, with the log, when the program has died."""

        def check():
            if not self.is_running():
                raise AssertionError(
                    f"{self.argv[0]} ended with {self.popen.returncode}; log:\n{self.log}")
            return condition()

        return wait_until(check, f"{what}; log of {self.argv[0]}:\n{self.log}", timeout)

    def wait_for_log(self, text, timeout=60.0):
        self.wait_for(lambda: text in self.log, f"{text!r} in the log", timeout)

    def stop(self, number=signal.SIGTERM, timeout=10.0):
        """Ends it and everything it started; gives its exit code."""
        try:
            if self.is_running():
                self.send_signal(number)
                return self.wait(timeout)
            return self.popen.returncode
        finally:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.popen.wait()

    def status(self, key):
        """A number of /proc/<pid>/status, e.g. VmRSS in KiB."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith(key + ":"):
                    return int(line.split()[1])
        raise KeyError(key)

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))
