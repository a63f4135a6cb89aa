"""The command line: exit codes, help, and messages that say what to write."""
import errno
import re
import socket

import pytest

from harness.mdfront import BINARY, run_command
from harness.ports import free_port
from harness.process import Process
from harness.seccomp import IO_URING_SETUP, forbid

GOOD = """
[md]
store_dir = "{folder}/md"

[[listen]]
address = "127.0.0.1:{port}"
protocol = "https"

[[listen]]
address = "127.0.0.1:{plain}"
protocol = "http"

[[site]]
hosts = ["example.test"]
backend = "127.0.0.1:8080"
certificate_file = "{chain}"
certificate_key_file = "{key}"
"""


@pytest.fixture
def good(folder, certificate):
    return GOOD.format(folder=folder, port=free_port(), plain=free_port(), chain=certificate.chain,
                       key=certificate.key)


@pytest.fixture
def check(folder):
    def run(text, verb="check", **options):
        path = folder / "mdfront.toml"
        path.write_text(text)
        return run_command(verb, "-c", path, **options)

    return run


@pytest.mark.core
@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["run", "--help"]])
def test_help_is_printed_and_no_error(arguments):
    done = run_command(*arguments)
    assert done.returncode == 0
    for word in ("mdfront", "run", "Signals", "Exit codes"):
        assert word in done.stdout


def test_version_names_product_and_libraries():
    done = run_command("version")
    assert done.returncode == 0
    first, runs_with, built_with = done.stdout.splitlines()
    assert re.fullmatch(r"mdfront \d+\.\d+\.\d+( \(commit [0-9a-f]{12}\))?", first)
    # Those that the process has, which need not be those that it was built with.
    for library in ("OpenSSL", "libcurl", "c-ares", "libseccomp"):
        assert re.search(library + r" \d+\.\d+", runs_with)
    for library in ("liburing", "llhttp", "fmt", "toml\\+\\+", "nlohmann-json", "CLI11"):
        assert re.search(library + r" \d+\.\d+", built_with)


def test_version_tells_the_groups_of_the_key_exchange_in_use():
    text = run_command("version", "--verbose").stdout
    offered = re.search(r"key exchange +(.*) \(default", text).group(1).split(", ")
    assert offered[-3:] == ["X25519", "P-256", "P-384"]
    has_hybrids = re.search(r"runs with +OpenSSL (\d+)\.(\d+)", text).groups() >= ("3", "5")
    assert (offered[0] == "X25519MLKEM768") == has_hybrids
    assert ("need another OpenSSL" in text) == (not has_hybrids)


@pytest.mark.parametrize("arguments", [[], ["fly"], ["run", "--wings"], ["check", "-c"]])
def test_wrong_usage_exits_with_2(arguments):
    done = run_command(*arguments)
    assert done.returncode == 2
    assert done.stderr


def test_an_unknown_command_is_named_and_the_known_ones_are_told():
    done = run_command("fly")
    assert "fly: no such command" in done.stderr
    for verb in ("run", "check", "version"):
        assert verb in done.stderr


@pytest.mark.parametrize("verb", ["run", "check"])
def test_the_help_of_a_command_tells_its_options(verb):
    assert "--config" in run_command(verb, "--help").stdout


@pytest.mark.core
def test_a_good_configuration_passes_and_nothing_is_written(check, good, folder):
    done = check(good)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok" in done.stdout
    assert not (folder / "md").exists()


def test_a_missing_configuration_is_refused_with_its_path(folder):
    for verb in ("check", "run"):
        done = run_command(verb, "-c", folder / "absent.toml")
        assert done.returncode == 1 and "absent.toml" in done.stderr


# What is exchanged in the good configuration, and the words that the message has to have: the
# place, what is wrong, and what to write instead (faults.md 2i).
MISTAKES = {
    "CF-01 unknown key": ("[md]", "[mdd]\nx = 1\n[md]", ["mdd", "md"]),
    "CF-01 misspelt key": ("hosts =", "hsts =", ["hsts", "hosts"]),
    "CF-02 wrong type": ('protocol = "https"', "protocol = 443", ["protocol", "https"]),
    "CF-03 twice": ('protocol = "https"', 'protocol = "https"\nprotocol = "https"', ["protocol"]),
    "CF-04 syntax": ('["example.test"]', '["example.test"', ["expected"]),
    "CF-06 address": ("127.0.0.1:{port}", "localhost", ["localhost", "address"]),
    "CF-06 port": ("127.0.0.1:{port}", "127.0.0.1:70000", ["70000"]),
    "CF-07 same address": ("127.0.0.1:{plain}", "127.0.0.1:{port}", ["same connections"]),
    "CF-09 backend with a scheme": ("127.0.0.1:8080", "http://127.0.0.1:8080",
                                    ["http://127.0.0.1:8080"]),
    "CF-11 name": ("example.test", "https://example.test/", ["https://example.test/"]),
    "CF-19 certificate without key": ("certificate_key_file", "# certificate_key_file",
                                      ["certificate"]),
    "CF-20 file missing": ("{chain}", "/nowhere/chain.pem", ["/nowhere/chain.pem"]),
    "CF-25 CA": ("[md]", '[md]\ncertificate_authority = "http://ca.test/dir"', ["https"]),
    "CF-31 duration": ("[md]", '[md]\ncheck_interval = "10"', ["10", "unit"]),
    "CF-31 window": ("[md]", '[md]\nrenew_window = "150%"', ["150%"]),
    "CF-24 key": ("[md]", '[md]\nprivate_keys = ["RSA 512"]', ["RSA 512"]),
    "CF-29 challenge": ("[md]", '[md]\nca_challenges = ["dns-02"]', ["dns-02", "http-01"]),
    "CF-38 public status": ("[md]", '[admin]\nlisten = ["0.0.0.0:9180"]\n[md]', ["public"]),
    "CF-39 user": ("[md]", '[server]\nuser = "nobody-of-this-name"\n[md]',
                   ["nobody-of-this-name"]),
    "CF-43 log": ("[md]", '[server]\naccess_log = {{ path = "/nowhere/log" }}\n[md]',
                  ["/nowhere"]),
}


@pytest.mark.core
@pytest.mark.parametrize("case", MISTAKES)
def test_each_mistake_has_a_message_with_its_place_and_the_way_out(
        check, folder, certificate, case):
    old, new, words = MISTAKES[case]
    values = {"folder": folder, "port": free_port(), "plain": free_port(),
              "chain": certificate.chain, "key": certificate.key}
    assert old in GOOD
    done = check(GOOD.replace(old, new, 1).format(**values))
    assert done.returncode == 1
    assert "mdfront.toml:" in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert len({line for line in done.stderr.splitlines()}) == len(done.stderr.splitlines())


def test_mistakes_differ_in_their_messages(check, folder, certificate):
    values = {"folder": folder, "port": free_port(), "plain": free_port(),
              "chain": certificate.chain, "key": certificate.key}
    messages = {check(GOOD.replace(old, new, 1).format(**values)).stderr.splitlines()[0]
                .split(": ", 1)[1] for old, new, _ in MISTAKES.values()}
    assert len(messages) >= len(MISTAKES) - 2


def test_all_mistakes_of_a_file_are_told_in_one_run(check, good):
    done = check(good.replace("hosts =", "hsts =").replace('"https"', '"gopher"')
                 .replace("[md]", '[md]\ncheck_interval = "soon"'))
    assert done.returncode == 1
    for word in ("hsts", "gopher", "soon"):
        assert word in done.stderr


@pytest.mark.core
def test_a_refused_configuration_binds_and_writes_nothing(check, good, folder):
    done = check(good.replace("hosts =", "hsts ="), verb="run")
    assert done.returncode == 1
    assert not (folder / "md").exists()


def test_key_and_certificate_that_do_not_match_are_refused(check, good, certificate, authority):
    other = authority.issue("example.test")
    done = check(good.replace(str(certificate.key), str(other.key)))
    assert done.returncode == 1
    assert str(certificate.chain) in done.stderr or str(other.key) in done.stderr


def test_an_expired_certificate_is_served_with_a_warning(check, good, certificate, authority):
    old = authority.issue("example.test", days=-0.01)
    done = check(good.replace(str(certificate.chain), str(old.chain))
                 .replace(str(certificate.key), str(old.key)))
    assert done.returncode == 0
    assert "expired" in done.stderr


def test_an_address_in_use_is_named_with_its_reason(check, good, folder):
    with socket.socket() as taken:
        port = int(good.split('address = "127.0.0.1:')[1].split('"')[0])
        taken.bind(("127.0.0.1", port))
        taken.listen()
        done = check(good, verb="run")
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr and "in use" in done.stderr


@pytest.mark.core
@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS])
def test_a_refused_io_uring_is_explained(folder, good, code):
    (folder / "mdfront.toml").write_text(good)
    process = Process([BINARY, "run", "-c", folder / "mdfront.toml"], folder / "log",
                      prepare=forbid(IO_URING_SETUP, code))
    assert process.wait() == 1
    assert "io_uring" in process.log
    words = ("seccomp", "container", "kernel.io_uring_disabled") if code == errno.EPERM else (
        "kernel", "seccomp")
    assert any(word in process.log for word in words), process.log
