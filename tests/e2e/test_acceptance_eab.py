"""mod_md's acceptance list (docs/acceptance.md): accounts that a CA makes for its customers only
(750)."""
import json

import pytest

from harness.waiting import wait_until
from test_acceptance_drive import accounts, renewal, site, wait_for_failure
from test_acme import wait_for_certificate

KEYS = {"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
        "kid-2": "b10lLJs8l1GPIzsLP0s6pMt8O0XVGnfTaCeROxQM0BIt2XrJMDHJZBM5NuQmQJQH"}
ACME = "urn:ietf:params:acme:error:"


def binding(kid, hmac=None):
    return {"external_account_binding": [kid, hmac or KEYS[kid]]}


@pytest.mark.core
def test_without_a_good_binding_there_is_no_account_and_the_reason_is_told(acme, backend):
    # Each domain binds in its own way; one of them right.
    cases = {"missing.test": ({}, "externalAccountRequired"),
             "unknown.test": (binding("kid-x", KEYS["kid-1"]), "unauthorized"),
             "wrong.test": (binding("kid-1", KEYS["kid-2"]), "")}
    ca, front = acme([site(backend, name) for name in (*cases, "good.test")],
                     pebble={"eab": KEYS},
                     domains=[*({"names": [name], **keys} for name, (keys, _) in cases.items()),
                              {"names": ["good.test"], **binding("kid-1")}])
    wait_for_certificate(front, ca, "good.test")
    for name, (_, problem) in cases.items():
        last = wait_for_failure(front, name)
        assert last["problem"].startswith(ACME + problem) and last["detail"], last
        assert front.get(host=name).status == 503
    # What is missing is said with the key to set, and not tried again for a day.
    last = renewal(front, "missing.test")["last"]
    assert "set external_account_binding" in last["detail"]
    assert renewal(front, "missing.test")["errors"] == 1
    assert len(accounts(front)) >= 1
    assert front.status("good.test")["eab"] == {"kid": "kid-1", "hmac": "***"}


@pytest.mark.core
def test_accounts_are_shared_by_those_that_are_bound_alike_and_by_nobody_else(acme, backend,
                                                                              folder):
    file = folder / "eab.json"
    file.write_text(json.dumps({"kid": "kid-2", "hmac": KEYS["kid-2"]}))
    file.chmod(0o600)
    own = {"inherits.test": {}, "same.test": binding("kid-1"),
           "other.test": {"external_account_binding": str(file)},
           "none.test": {"external_account_binding": "none"}}
    ca, front = acme([site(backend, name) for name in own], pebble={"eab": KEYS},
                     md=binding("kid-1"),
                     domains=[{"names": [name], **keys} for name, keys in own.items()])
    wait_for_certificate(front, ca, "inherits.test", "same.test", "other.test")
    used = {name: front.status(name)["ca"].get("account") for name in own}
    assert used["inherits.test"] == used["same.test"] != used["other.test"]
    last = wait_for_failure(front, "none.test")  # there are accounts, but not for it
    assert last["problem"] == ACME + "externalAccountRequired"
    assert used["none.test"] is None
    hmacs = [json.loads(path.read_text())["eab"]["kid"]
             for path in (front.store / "accounts").glob("*/account.json")]
    assert sorted(hmacs) == ["kid-1", "kid-2"]


@pytest.mark.core
def test_a_changed_binding_makes_a_new_account_and_a_removed_one_fails(acme, backend):
    def domains(**keys):
        return [{"names": ["one.test"], **keys}]

    ca, front = acme([site(backend, "one.test")], pebble={"eab": KEYS},
                     domains=domains(**binding("kid-1")))
    wait_for_certificate(front, ca, "one.test")
    first = front.status("one.test")["ca"]["account"]

    def change(number, **keys):
        hosts = ["one.test", *(f"new{i}.test" for i in range(number + 1))]
        front.restart(sites=[site(backend, *hosts)], domains=domains(**keys))

    change(0, **binding("kid-2"))
    wait_for_certificate(front, ca, "new0.test")
    assert front.status("one.test")["ca"]["account"] != first
    change(1, **binding("kid-2", KEYS["kid-1"]))  # a key that is not this id's
    last = wait_for_failure(front, "one.test")
    assert last["problem"].startswith(ACME)
    change(2)
    wait_until(lambda: renewal(front, "one.test").get("last", {}).get("problem") ==
               ACME + "externalAccountRequired", f"the reason; log:\n{front.log}", 30)
    # The certificate that is there is served on.
    wait_for_certificate(front, ca, "one.test", "new0.test")
    # Nobody would try again for a day; with other settings it is tried at once.
    change(2, **binding("kid-1"))
    wait_for_certificate(front, ca, "new2.test")
