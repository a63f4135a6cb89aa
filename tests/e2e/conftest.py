"""Fixtures. Each gives a factory: what it makes is taken down again when the test ends, last
first, and mdfront's clean end is part of each test."""
import contextlib
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness.apache import Apache  # noqa: E402
from harness.certificates import Authority  # noqa: E402
from harness.mdfront import BINARY, Mdfront  # noqa: E402
from harness.pebble import Challtestsrv, Pebble  # noqa: E402
from harness.raw_backend import RawBackend, answer_ok  # noqa: E402


def pytest_collection_modifyitems(config, items):
    if os.environ.get("MDFRONT_QUICK"):
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_sessionstart(session):
    if not BINARY.exists():
        pytest.exit(f"{BINARY} is not built; tests/run builds it, MDFRONT_BIN names another", 1)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Each session has a folder of its own. Pytest's is shared with sessions that run beside this
    one, and each that begins closes it to httpd's children of the others."""
    if not config.option.basetemp:
        config.option.basetemp = config.own_folder = tempfile.mkdtemp(prefix="mdfront-e2e-")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """What failed is left to be looked at."""
    own = getattr(session.config, "own_folder", None)
    if own and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        shutil.rmtree(own, ignore_errors=True)


@pytest.fixture
def folder(tmp_path, tmp_path_factory):
    """A folder of the test's own that httpd's children, which are not root, can read too."""
    base = tmp_path_factory.getbasetemp()
    for path in (tmp_path, base):
        path.chmod(path.stat().st_mode | 0o711)
    return tmp_path


@pytest.fixture
def started():
    """Things to close() at the end of the test; all are closed, whatever fails."""
    with contextlib.ExitStack() as stack:
        yield lambda thing: stack.callback(thing.close) and thing


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """The CA of static certificates and of Pebble's own endpoint. Everybody may read its root."""
    path = tmp_path_factory.mktemp("authority")
    path.chmod(0o711)
    return Authority(path)


@pytest.fixture(scope="session")
def certificate(authority):
    """ECDSA, for example.test, www.example.test and *.wild.test."""
    return authority.issue("example.test", "www.example.test", "*.wild.test")


@pytest.fixture
def backend(started):
    """A scriptable backend; its script may be exchanged: backend.script = …"""
    return started(RawBackend(answer_ok))


@pytest.fixture
def raw_backend(started):
    return lambda *args, **options: started(RawBackend(*args, **options))


@pytest.fixture
def apache(started, folder):
    counter = iter(range(100))
    return lambda **options: started(Apache(folder / f"httpd{next(counter)}", **options))


@pytest.fixture
def site(certificate):
    """A [[site]] with the static certificate: site(backend) or site("127.0.0.1:80", hosts=…)."""

    def make(backend, hosts=("example.test", "www.example.test"), files=certificate, **keys):
        files = files if isinstance(files, (list, tuple)) else [files]
        return {"hosts": list(hosts), "backend": getattr(backend, "address", backend),
                "certificate_file": [str(one.chain) for one in files],
                "certificate_key_file": [str(one.key) for one in files], **keys}

    return make


@pytest.fixture
def mdfront(started, folder):
    """mdfront([site(backend)], limits={…}) starts one and waits until it answers."""
    counter = iter(range(100))
    return lambda *args, **options: started(
        Mdfront(folder / f"mdfront{next(counter)}", *args, **options))


@pytest.fixture
def front(mdfront, site, backend):
    """mdfront with the static certificate before the scriptable backend."""
    return mdfront([site(backend)])


@pytest.fixture
def events(folder):
    """A message_cmd, and what it was told so far."""
    log = folder / "events"
    script = folder / "message"
    script.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    script.chmod(0o755)
    return str(script), lambda: log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def challtestsrv(started, folder):
    return started(Challtestsrv(folder))


@pytest.fixture
def acme(started, folder, authority, challtestsrv, mdfront):
    """acme(sites, md={…}, pebble={…}) gives (pebble, mdfront) that know of each other."""
    from harness.ports import free_port

    counter = iter(range(100))

    def make(sites, md=None, pebble=None, **options):
        https, http = free_port(), free_port()
        ca = started(Pebble(folder / f"pebble{next(counter)}", authority, challtestsrv.dns, http,
                            https, **(pebble or {})))
        settings = {"certificate_authority": [ca.directory], "certificate_agreement": "accepted",
                    "contact_email": "ops@example.test", "ca_certificate_file": str(ca.trust),
                    "retry_delay": "1s", "private_keys": ["P-256"], **(md or {})}
        return ca, mdfront(sites, md=settings, https=https, http=http, **options)

    return make
