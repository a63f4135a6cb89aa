"""The admin listener: pages, JSON, metrics; what they show and what they never show."""
import json

import pytest

from harness.http1 import Client
from harness.waiting import wait_until


def managed(backend, *hosts):
    return {"hosts": list(hosts), "backend": backend.address, "managed": True}


@pytest.mark.core
def test_health_is_told(front):
    assert front.get_admin("/healthz").body == b"ok\n"


@pytest.mark.core
def test_the_page_names_every_managed_domain_and_its_state(acme, backend):
    _, front = acme([managed(backend, "one.test", "www.one.test"), managed(backend, "two.test")],
                    pebble={"start": False})
    page = front.get_admin("/")
    assert page.status == 200 and page["Content-Type"].startswith("text/html")
    for name in ("one.test", "www.one.test", "two.test"):
        assert name in page.body.decode()


@pytest.mark.threads
def test_status_json_has_domains_and_traffic(acme, backend):
    _, front = acme([managed(backend, "one.test")], pebble={"start": False})
    answer = front.get_admin("/status.json")
    assert answer.status == 200 and "json" in answer["Content-Type"]
    assert "one.test" in json.dumps(json.loads(answer.body))


def test_unknown_paths_are_404_and_nothing_can_be_changed_by_post(front):
    assert front.get_admin("/absent").status == 404
    with Client(("127.0.0.1", front.admin)) as client:
        assert client.exchange("POST", "/", host="localhost", body=b"x").status in (405, 501)


@pytest.mark.core
def test_other_host_names_are_refused_so_that_web_pages_cannot_read_it(front):
    for host in ("evil.test", "localhost.evil.test", "example.test"):
        answer = front.get_admin("/md-status/", host=host)
        assert answer.status in (403, 404, 421), host
        assert b"managed-domains" not in answer.body
    assert front.get_admin("/md-status/", host=f"127.0.0.1:{front.admin}").status == 200


@pytest.mark.core
def test_secrets_are_on_no_page_and_in_no_log(acme, backend):
    secret = "c2VjcmV0LWhtYWMta2V5LW9mLXRoZS1hY2NvdW50"
    ca, front = acme([managed(backend, "one.test")],
                     md={"external_account_binding": ["kid-1", secret]})
    wait_until(lambda: front.status("one.test").get("renewal") or
               front.status("one.test")["state"] == 2, "an attempt")
    for target in ("/", "/status.json", "/md-status/", "/md-status/one.test"):
        body = front.get_admin(target).body.decode(errors="replace")
        assert secret not in body, target
        assert "PRIVATE KEY" not in body, target
    assert front.status("one.test")["ca"].get("eab", {}).get("hmac", "***") == "***"
    assert secret not in front.log and "PRIVATE KEY" not in front.log
    assert "acme-challenge/" not in front.log


def test_the_page_escapes_what_came_from_outside(acme, backend):
    _, front = acme([managed(backend, "one.test")], pebble={"start": False})
    page = front.get_admin("/<script>alert(1)</script>")
    assert b"<script>alert" not in page.body


def test_the_status_of_hundreds_of_domains_is_told_whole(mdfront, backend):
    """More than a connection takes at once: it goes on as the client reads."""
    names = [f"site{number}.{'l' * 60}.{'m' * 60}.{'n' * 60}.test" for number in range(300)]
    front = mdfront([managed(backend, name) for name in names],
                    md={"renew_mode": "manual", "private_keys": ["P-256"]})
    with Client(("127.0.0.1", front.admin)) as client:
        for target in ("/md-status/", "/", "/md-status/"):
            answer = client.exchange(target=target, host="localhost")
            assert answer.status == 200
            assert len(answer.body) > 300000
            assert names[-1].encode() in answer.body
    assert len(front.status()["managed-domains"]) == 300
