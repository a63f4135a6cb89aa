"""Waiting for things to become true. Nothing in these tests sleeps for a fixed time."""
import time


def wait_until(condition, what, timeout=20.0, every=0.01):
    """Calls `condition` until it gives something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(every)
