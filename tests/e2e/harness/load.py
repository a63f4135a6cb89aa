"""Requests that go on while a test changes something: none of them may fail."""
import threading

from .http1 import Client, tls_context


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
