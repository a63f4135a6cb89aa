"""Groups of the key exchange (RFC 8446 4.2.7), as openssl s_client and `mdfront check` see them."""
import re
import subprocess

import pytest

from harness.mdfront import run_command
from harness.ports import free_port

pytestmark = pytest.mark.core
HYBRID = "X25519MLKEM768"
OFFERED = re.search(r"key exchange +(.*) \(default", run_command("version", "--verbose").stdout)
HAS_HYBRIDS = HYBRID in OFFERED.group(1)
needs_hybrids = pytest.mark.skipif(not HAS_HYBRIDS, reason=f"OpenSSL before 3.5 has no {HYBRID}")


def key_exchange(front, groups, *arguments):
    """(group that was agreed on, or None; how often the client said hello). s_client sends a key
    share for the first group, and for each with a "*" where OpenSSL knows that."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{front.https}", "-servername",
         "example.test", "-msg", "-groups", groups, *arguments],
        input="", capture_output=True, text=True, timeout=20)
    output = done.stdout + done.stderr
    found = re.search(r"Negotiated TLS1.3 group: (\S+)"
                      r"|(?:Server|Peer) Temp Key: (?:ECDH, )?([^,\n]+)", output)
    group = (found.group(1) or found.group(2)) if found else None
    return (None if group == "<NULL>" else {"secp384r1": "P-384", "prime256v1": "P-256"}.get(
        group, group)), len(re.findall(r"^>>> .*ClientHello$", output, re.MULTILINE))


@pytest.mark.parametrize("groups,agreed,hellos", [
    ("X25519", "X25519", 1),
    ("P-384", "P-384", 1),
    # One round trip is worth more than our favourite.
    ("P-384:X25519", "P-384", 1),
    # A share for a group that is not offered: HelloRetryRequest.
    ("P-521:X25519", "X25519", 2),
])
def test_the_group_is_the_first_of_ours_that_the_client_has_sent_a_share_for(front, groups, agreed,
                                                                           hellos):
    assert key_exchange(front, groups) == (agreed, hellos)


@needs_hybrids
@pytest.mark.parametrize("groups,agreed,hellos", [
    (HYBRID, HYBRID, 1),
    # As browsers do: a hello in two segments, with both shares.
    (f"*{HYBRID}:*X25519", HYBRID, 1),
    (f"*X25519:*{HYBRID}", HYBRID, 1),
    (f"X25519:{HYBRID}", "X25519", 1),
    (f"P-521:{HYBRID}", HYBRID, 2),
    ("*P-521:X25519", "X25519", 2),
])
def test_hybrids_come_first_where_openssl_has_them(front, groups, agreed, hellos):
    assert key_exchange(front, groups) == (agreed, hellos)


def test_the_groups_can_be_set(mdfront, site, backend):
    front = mdfront([site(backend)], more={"tls": {"groups": ["P-384", "X25519"]}})
    assert key_exchange(front, "P-256") == (None, 1)
    assert key_exchange(front, "P-256:P-384") == ("P-384", 2)
    assert key_exchange(front, "X25519:P-256", "-tls1_2")[0] == "X25519"


@pytest.mark.parametrize("groups,says", [
    ('["X25519", "curve25519"]', '"curve25519"; expected'),
    ('["X25519", "X25519"]', '"X25519" stands here twice'),
    ("[]", "groups"),
    pytest.param(f'["{HYBRID}"]', f'does not know "{HYBRID}"', marks=pytest.mark.skipif(
        HAS_HYBRIDS, reason="this OpenSSL has hybrids")),
])
def test_groups_that_cannot_be_offered_are_told(folder, groups, says):
    path = folder / "mdfront.toml"
    path.write_text(f'[[listen]]\naddress = "127.0.0.1:{free_port()}"\nprotocol = "http"\n\n'
                    '[[site]]\nhosts = ["example.test"]\nbackend = "127.0.0.1:1"\n\n'
                    f"[tls]\ngroups = {groups}\n")
    done = run_command("check", "-c", path)
    assert done.returncode == 1
    assert f"{path}:10: groups: " in done.stderr or f"{path}:10: tls.groups: " in done.stderr
    assert says in done.stderr
