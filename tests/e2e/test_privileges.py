"""Started as root and going on as `server.user`: what that user plants for root to fall into, and
files that only one of the two can open."""
import os
import pathlib
import pwd
import shutil
import signal
import tempfile

import pytest

from harness.mdfront import run_command
from harness.waiting import wait_until
from test_acme import managed

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

USER = "www-data"


def owner(path):
    return pwd.getpwuid(path.lstat().st_uid).pw_name


@pytest.fixture
def roots_folder():
    """A folder that root alone can change, with all that leads to it; /tmp is not such a place."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="mdfront-e2e-", dir="/"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def start_refused(front):
    done = run_command("run", "--config", front.config)
    assert done.returncode == 1, done
    return done.stderr


@pytest.mark.core
def test_what_the_user_plants_in_its_store_is_not_given_to_it(acme, backend, folder):
    outside = folder / "outside"
    (outside / "inner").mkdir(parents=True)
    secret = outside / "inner" / "shadow"
    secret.write_text("root's\n")
    secret.chmod(0o600)
    _, front = acme([managed(backend, "one.test")], server={"user": USER}, pebble={"start": False})
    assert owner(front.store) == USER
    assert front.stop() == 0
    # As the user, who owns the store, and a file as `mdfront store check --fix` of root's makes it.
    (front.store / "domains" / "linked").symlink_to(outside)
    (front.store / "domains" / "one.test" / "linked.pem").symlink_to(secret)
    os.link(secret, front.store / "domains" / "hard.pem")
    (front.store / "domains" / "roots.pem").write_text("x")
    front.start()
    assert {owner(path) for path in (outside, outside / "inner", secret)} == {"root"}
    assert secret.read_text() == "root's\n" and secret.stat().st_mode & 0o777 == 0o600
    assert owner(front.store / "domains" / "roots.pem") == USER
    assert "hard.pem: it is a hard link" in front.log
    assert "linked: it is neither file nor directory" in front.log


def test_the_lock_of_the_store_may_be_a_link_to_a_file_of_roots(acme, backend, folder):
    """It is written to: as root, whatever it is a name of was emptied."""
    secret = folder / "shadow"
    secret.write_text("root's\n")
    secret.chmod(0o600)
    _, front = acme([managed(backend, "one.test")], server={"user": USER}, pebble={"start": False})
    assert front.stop() == 0
    lock = front.store / "mdfront.lock"
    lock.unlink()
    os.link(secret, lock)
    front.start()
    assert secret.read_text() == "root's\n" and owner(secret) == "root"


def test_a_store_behind_a_link_of_the_users_is_refused(acme, backend, folder):
    (folder / "outside" / "md").mkdir(parents=True)
    _, front = acme([managed(backend, "one.test")], server={"user": USER}, pebble={"start": False},
                    start=False)
    (front.folder / "way").symlink_to(folder / "outside")
    front.document["md"]["store_dir"] = str(front.folder / "way" / "md")
    front.write_config()
    assert "which root does not follow" in start_refused(front)
    assert owner(folder / "outside" / "md") == "root"
    assert list((folder / "outside" / "md").iterdir()) == []


def test_root_checks_a_store_with_the_rights_of_its_owner(acme, backend, folder):
    secret = folder / "shadow"
    secret.write_text("root's\n")
    secret.chmod(0o600)
    _, front = acme([managed(backend, "one.test")], server={"user": USER}, pebble={"start": False})
    assert front.stop() == 0
    # `store check` shows what it cannot understand of a file.
    job = front.store / "domains" / "one.test" / "md.json"
    job.unlink(missing_ok=True)
    os.link(secret, job)
    done = front.command("store", "check", "--fix")
    assert "Permission denied" in done.stdout, done
    assert secret.read_text() == "root's\n" and owner(secret) == "root"


@pytest.mark.core
def test_a_log_that_the_user_cannot_write_is_refused_before_the_start(mdfront, site, backend):
    front = mdfront([site(backend)], server={"user": USER}, start=False)
    front.access_log_path.write_text("")
    done = front.command("check")
    assert done.returncode == 1
    assert f"access.log cannot be written by the user {USER}: Permission denied; " in done.stderr
    assert "cannot be written by the user" in start_refused(front)
    shutil.chown(front.access_log_path, USER)
    assert front.command("check").returncode == 0
    front.start()
    front.get("/one")
    wait_until(lambda: front.access_log, "a line")


@pytest.mark.core
def test_a_log_in_a_folder_of_roots_is_made_for_the_user_and_rotated(
        mdfront, site, backend, roots_folder):
    path = roots_folder / "access.log"
    front = mdfront([site(backend)], server={"user": USER, "access_log": {"path": str(path)}},
                    start=False)
    front.access_log_path = path
    done = front.command("check")
    assert done.returncode == 0 and "create 0640 www-data adm" in done.stderr
    front.start()
    assert (owner(path), path.stat().st_mode & 0o777) == (USER, 0o640)
    front.get("/one")
    wait_until(lambda: front.access_log, "a line")

    # Rotated by moving it away alone: lines go on into the old file, and the log says so.
    rotated = path.with_suffix(".1")
    path.rename(rotated)
    front.send_signal(signal.SIGUSR1)
    front.process.wait_for_log("its lines go to the file before it")
    front.get("/two")
    wait_until(lambda: "/two" in rotated.read_text(), "the line in the old file")
    assert not path.exists()

    # As logrotate's `create` does it; no second signal is needed.
    path.touch(0o640)
    shutil.chown(path, USER)
    front.get("/three")
    wait_until(lambda: front.access_log, "a line in the new file")
    assert "/three" in path.read_text() and "/three" not in rotated.read_text()


def test_a_key_that_root_alone_can_read_is_served_and_warned_of(mdfront, site, backend, folder,
                                                                certificate):
    key = folder / "key.pem"
    shutil.copy(certificate.key, key)
    key.chmod(0o600)
    sites = [site(backend) | {"certificate_key_file": [str(key)]}]
    front = mdfront(sites, server={"user": USER})
    assert f"{key} can be read at the start, by root, and not by the user {USER}" in front.log
    assert front.get().status == 200
    front.send_signal(signal.SIGHUP)
    front.process.wait_for_log("is refused; the configuration before it stays")
    assert front.get().status == 200
