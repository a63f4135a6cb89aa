"""The faults that test_ca_faults.py has a CA show, and what mdfront has to make of each."""
import datetime
import gzip
import json
import typing

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.certificates import HOUR
from harness.fault_injector import (
    Rule, answer, decode, edit, http_date, lose, members, problem, reset)

DAY = 86400


class Case(typing.NamedTuple):
    """`kind`: "error": told, and over when the fault is; "lasting": told, and over when somebody
    changed a setting; "waiting": told, and nothing is asked until the CA wants it; "passes": no
    error at all; "first": no error but at the first attempt for a new domain."""
    name: str
    rules: typing.Sequence[Rule] = ()
    says: typing.Sequence[str] = ()
    kind: str = "error"
    tls: str = ""
    proxy: bytes = b""
    settings: dict = {}
    check: typing.Callable = None

    @property
    def domain(self):
        return f"{self.name}.test"


def forged(key=None, names=None, days=90, age=HOUR, chain=lambda leaf, root: leaf + root):
    """A certificate of the tests' own CA instead of Pebble's, for what was asked for or not."""
    def act(exchange):
        made = exchange.forward()
        finalize = exchange.injector.asked(exchange.case, "finalize")[-1]
        request = x509.load_der_x509_csr(decode(finalize.payload["csr"]))
        asked_for = request.extensions.get_extension_for_class(
            x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
        authority = exchange.injector.authority
        leaf = authority.certify(key or request.public_key(), names or asked_for, days, age)
        made.body = chain(leaf.public_bytes(serialization.Encoding.PEM),
                          authority.root.read_bytes())
        return made
    return act


def unlinked(exchange):
    """Pebble's certificate with somebody else's as its issuer."""
    made = exchange.forward()
    leaf, end, _ = made.body.partition(b"-----END CERTIFICATE-----\n")
    made.body = leaf + end + exchange.injector.authority.root.read_bytes()
    return made


def chain_edit(change):
    """Pebble's PEM chain, altered."""
    def alter(made):
        made.body = change(made.body)
    return edit(alter)


def cut(made):
    """Less than Content-Length says."""
    made.length = len(made.body)
    made.body = made.body[:len(made.body) // 2]


def lengthened(made):
    made.body += b"x" * (2 * 1024 * 1024)


def zipped(made):
    made.body = gzip.compress(made.body)
    made.set("Content-Encoding", "gzip")


def without_nonce(made):
    made.remove("Replay-Nonce")


def huge_nonce(made):
    made.set("Replay-Nonce", "n" * 8192)


def typed(content_type):
    def change(made):
        made.remove("Content-Type")
        if content_type:
            made.set("Content-Type", content_type)
    return edit(change)


def nonsense(text):
    """Status and fields of the CA, and another text."""
    def change(made):
        made.body = text
    return edit(change)


def challenges(change):
    def alter(made):
        document = made.json
        for challenge in document["challenges"]:
            change(challenge)
        made.set_json(document)
    return edit(alter)


def refused(kind, detail):
    """An authorization that failed with the CA's reason."""
    def alter(made):
        document = made.json
        if document["status"] == "pending":
            return
        document["status"] = "invalid"
        for challenge in document["challenges"]:
            challenge["status"] = "invalid"
            challenge["error"] = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail}
        made.set_json(document)
    return edit(alter)


def account_lost():
    return Rule("account", problem(400, "accountDoesNotExist", "nobody of that name"), times=1)


def processing(made):
    """The CA has the certificate, and does not say so yet."""
    document = made.json
    if document["status"] == "valid":
        document["status"] = "processing"
        del document["certificate"]
    made.set_json(document)


def replaces(exchange):
    return "replaces" in exchange.payload


ARI = [Rule("directory", members(renewalInfo="https://ca.localhost/renewal-info")),
       Rule("renewal-info", answer(404))]
OTHER_KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
SCRIPT = "<script>alert(1)</script>\x1b[2J"


def one_order_finalized_once(trial, seen):
    assert len(trial.during(seen, "new-order")) == 1
    assert len(trial.during(seen, "finalize")) == 1


def orders_asked_for(count):
    def check(trial, seen):
        assert len(trial.during(seen, "new-order")) == count
    return check


def another_order(trial, seen):
    assert len(trial.during(seen, "new-order")) >= 2


def one_account_key(trial, seen):
    asked = trial.injector.asked(seen.case.name, "new-account")
    assert len(asked) == 2
    assert asked[0].protected["jwk"] == asked[1].protected["jwk"]


def status_stays_small(trial, seen):
    assert len(json.dumps(seen.job)) < 100000
    assert "<script>alert" not in seen.page


def second_ca_made_it(trial, seen):
    assert len(trial.during(seen, "directory")) == 2  # retry_failover
    assert len(trial.injector.asked("ca42-second", "finalize")) == 1


def paused(seconds):
    """The next attempt comes when the CA wants it, not before."""
    def check(trial, seen):
        asked = trial.during(seen)
        gaps = [later.when - earlier.when for earlier, later in zip(asked, asked[1:])]
        assert max(gaps) >= seconds, gaps
    return check


def waits(least, most):
    """How far the next attempt is away in md-status."""
    def check(_, seen):
        next_run, last_run = (datetime.datetime.strptime(
            seen.job[key], "%a, %d %b %Y %H:%M:%S GMT") for key in ("next-run", "last-run"))
        assert least <= (next_run - last_run).total_seconds() <= most, seen.job
    return check


A_DAY = waits(DAY / 2 - 2, DAY * 1.5 + 5)  # with jitter

CASES = [
    # Nonces
    Case("ca01-bad-nonces-now-and-then",
         [Rule("new-order", problem(400, "badNonce", "stale"), times=4)], kind="passes"),
    Case("ca01-bad-nonces-all-the-time",
         [Rule("new-order", problem(400, "badNonce", "stale"), times=6)], ["badNonce", "stale"],
         check=orders_asked_for(7)),
    Case("ca02-no-nonce-in-answers", [Rule(endpoint, edit(without_nonce)) for endpoint in (
        "account", "new-order", "order", "authorization", "challenge", "finalize")],
        kind="passes"),
    Case("ca02-nonces-of-8-kilobytes", [Rule("order", edit(huge_nonce))], kind="passes"),
    Case("ca02-no-nonce-at-all", [Rule("new-nonce", edit(without_nonce))],
         ["nonce-plz gives no usable nonce"]),
    # Retry-After
    Case("ca03-too-many-requests", [Rule("new-order", problem(
        429, "rateLimited", "too many orders", Retry_After="4"), times=1)],
        ["rateLimited", "too many orders"], check=paused(4)),
    Case("ca04-until-a-date", [Rule("new-order", problem(
        429, "rateLimited", "too many orders", Retry_After=http_date(5)), times=1)],
        ["too many orders"], check=paused(4)),
    Case("ca04-until-a-date-in-the-past", [Rule("new-order", problem(
        429, "rateLimited", "too many orders", Retry_After=http_date(-5)), times=1)],
        ["too many orders"], check=paused(1)),
    Case("ca04-until-garbage", [Rule("new-order", problem(
        429, "rateLimited", "too many orders", Retry_After="-7 or so"), times=1)],
        ["too many orders"]),
    Case("ca04-for-ten-years", [Rule("new-order", problem(
        429, "rateLimited", "too many orders", Retry_After=http_date(3650 * DAY)))],
        ["too many orders"], "waiting", check=waits(DAY - 5, DAY + 5)),
    Case("ca05-only-in-words", [Rule("new-order", problem(
        429, "rateLimited", "retry after 2099-01-01"), times=1)], ["retry after 2099-01-01"]),
    *[Case(f"ca06-unavailable-{endpoint}", [Rule(endpoint, answer(
        503, "busy", Retry_After="3"), times=1)], ["503"], check=paused(3))
      for endpoint in ("directory", "new-nonce", "account", "new-order", "challenge")],
    Case("ca06-unavailable-finalize", [
        Rule("finalize", answer(503, "busy", Retry_After="3"), times=1)], ["503", "busy"],
        check=paused(3)),
    # What is no answer
    Case("ca07-500-new-nonce", [Rule("new-nonce", answer(500), times=2)], ["nonce-plz", "500"]),
    *[Case(f"ca07-500-{endpoint}", [Rule(endpoint, answer(500, "it broke"), times=2)],
           ["500", "it broke"])
      for endpoint in ("directory", "account", "new-order", "authorization",
                       "challenge", "finalize")],
    *[Case(f"ca07-500-{endpoint}-while-polling",
           [Rule(endpoint, answer(500), times=2, skip=skip)], kind="passes",
           check=one_order_finalized_once)
      for endpoint, skip in (("authorization", 1), ("order", 0), ("certificate", 0))],
    *[Case(f"ca07-{status}", [Rule("new-order", answer(status, text), times=1)], [str(status)])
      for status, text in ((502, ""), (504, "late"), (520, "\x01\xff"), (304, ""), (418, "tea"))],
    *[Case(f"ca07-{status}-empty", [Rule("new-order", answer(status), times=1)],
           ["the CA's answer has no Location"]) for status in (200, 204)],
    Case("ca08-reset", [Rule("directory", reset, times=1)], ["ca08-reset.ca.localhost"]),
    # TLS
    Case("ca10-cut", tls="cut", says=["the TLS handshake failed"]),
    Case("ca10-expired", tls="expired", says=[
        "its TLS certificate is not trusted", "expired", "a wrong clock on this machine"]),
    Case("ca10-other-name", tls="other name", says=[
        "its TLS certificate is not trusted", "alternative certificate subject name"]),
    Case("ca10-unknown-issuer", tls="unknown issuer", says=[
        "its TLS certificate is not trusted", "name its root in ca_certificate_file"]),
    Case("ca10-old-version", tls="TLS 1.0", says=["the TLS handshake failed"]),
    # URLs
    Case("ca11-plain-http-in-directory",
         [Rule("directory", members(newOrder="http://ca.test/order"), times=1)],
         ["http://ca.test/order is not an https URL"]),
    Case("ca11-plain-http-in-order",
         [Rule("new-order", members(finalize="http://ca.test/finalize"), times=1)],
         ["http://ca.test/finalize is not an https URL"]),
    # JSON
    *[Case(f"ca13-{what}", [Rule("new-order", nonsense(text), times=1)],
           ["the CA's order is not JSON"])
      for what, text in (("cut-json", b'{"status": "pend'), ("deep-json", b"[" * 100000),
                         ("twice-json", b'{"status": "pending", "status": "ready"}'),
                         ("latin1-json", b'{"status": "\xe4"}'), ("nul-json", b"\0"))],
    Case("ca13-array", [Rule("new-order", nonsense(b"[]"), times=1)],
         ["the CA's order is not a JSON object"]),
    Case("ca13-too-large", [Rule("new-order", edit(lengthened), times=1)],
         ["larger than 1048576 bytes"]),
    Case("ca13-number-for-text", [Rule("new-order", members(finalize=7), times=1)],
         ["has a finalize that is not a string"]),
    *[Case(f"ca13-no-{name.lower()}", [Rule("directory", members([name]), times=1)],
           [f"has no {name}"]) for name in ("newNonce", "newAccount", "newOrder")],
    Case("ca13-authorization-without-identifier",
         [Rule("authorization", members(["identifier"]), times=1)], ["has no identifier"]),
    *[Case(f"ca14-{endpoint}-of-{what}", [Rule(endpoint, typed(content_type))], kind="passes")
      for endpoint in ("new-order", "certificate")
      for what, content_type in (("no-type", ""), ("html-type", "text/html"))],
    Case("ca15-endless-problem", [Rule("new-order", problem(
        500, "serverInternal", SCRIPT + "e" * 300000,
        [{"type": "about:blank", "detail": SCRIPT}] * 1000), times=1)], ["serverInternal", "eee"],
        check=status_stays_small),
    Case("ca16-compressed", [Rule("new-order", edit(zipped), times=1)], ["compressed, unasked"]),
    # The account
    Case("ca17-account-forgotten", [account_lost()], kind="passes"),
    Case("ca18-account-deactivated",
         [Rule("account", problem(403, "unauthorized", "Account has been deactivated"), times=1)],
         ["it was deactivated or revoked", "a new one is registered"], "lasting", check=A_DAY),
    Case("ca19-key-refused", [account_lost(), Rule("new-account", problem(
        400, "badSignatureAlgorithm", "no such curve"), times=1)],
        ["badSignatureAlgorithm", "no such curve"], "lasting", check=A_DAY),
    Case("ca20-terms-changed", [Rule("new-order", problem(
        403, "userActionRequired", "there are new terms",
        Link='<https://ca.test/terms>; rel="terms-of-service"'), times=1)],
        ["there are new terms", "the terms of service are at https://ca.test/terms"], "lasting",
        check=A_DAY),
    Case("ca21-binding-required", [
        Rule("directory", members(meta={"externalAccountRequired": True}), times=1),
        account_lost()],
        ["externalAccountRequired", "set external_account_binding"], "lasting", check=A_DAY),
    Case("ca22-contact-refused", [account_lost(), Rule("new-account", problem(
        400, "invalidContact", "example.test has no mail"), times=1)],
        ["example.test has no mail", "check contact_email"], "lasting", check=A_DAY),
    # Names
    Case("ca23-name-refused", [Rule("new-order", problem(
        400, "rejectedIdentifier", "policy", [{
            "type": "urn:ietf:params:acme:error:caa", "detail": "CAA says no",
            "identifier": {"type": "dns", "value": "www.ca23.test"}}]), times=1)],
        ["rejectedIdentifier", "CAA says no", "www.ca23.test"], "lasting", check=A_DAY),
    *[Case(f"ca28-{kind.lower()}", [Rule("authorization", refused(kind, f"no luck, {kind}"))],
           [f"no luck, {kind}", f"ca28-{kind.lower()}.test"], check=another_order)
      for kind in ("caa", "dns", "connection", "tls", "incorrectResponse")],
    # Orders
    Case("ca24-invalid-at-birth", [Rule("new-order", members(status="invalid", error={
        "type": "urn:ietf:params:acme:error:serverInternal", "detail": "born dead"}), times=1)],
        ["born dead"], check=another_order),
    Case("ca24-gone-midway", [
        Rule("finalize", answer(500), times=1),
        Rule("order", problem(404, "malformed", "No such order"), times=2, skip=1)], ["500"],
        check=another_order),
    Case("ca24-no-finalize", [Rule("new-order", members(["finalize"]), times=1)],
         ["has no finalize"]),
    Case("ca24-no-authorizations", [Rule("new-order", members(authorizations=[]), times=1)],
         ["has no authorizations"]),
    Case("ca24-foreign-name", [Rule("new-order", members(
        identifiers=[{"type": "dns", "value": "foreign.test"}]), times=1)],
        ["for other names than those asked for"]),
    *[Case(f"ca25-authorization-{status}",
           [Rule("authorization", members(status=status), times=1)],
           [f"the authorization is {status}"], check=another_order)
      for status in ("invalid", "deactivated", "expired", "revoked")],
    Case("ca26-authorization-stays-pending",
         [Rule("authorization", members(status="pending"), times=4)], kind="passes",
         check=one_order_finalized_once),
    Case("ca27-unknown-challenges",
         [Rule("authorization", challenges(lambda one: one.update(type="dns-persist-01")),
               times=1)], ["challenge-mismatch", "dns-persist-01"]),
    Case("ca27-token-that-is-a-path",
         [Rule("authorization", challenges(lambda one: one.update(token="../../../x")), times=1)],
         ["challenge"]),
    Case("ca31-order-stays-processing", [Rule("order", edit(processing), times=6)],
         kind="passes", check=one_order_finalized_once),
    Case("ca32-request-refused",
         [Rule("finalize", problem(400, "badCSR", "weak key"), times=1)], ["badCSR", "weak key"],
         "lasting", check=A_DAY),
    Case("ca32-not-ready", [Rule("finalize", problem(403, "orderNotReady", "wait"), times=1)],
         ["orderNotReady", "wait"], check=orders_asked_for(1)),
    Case("ca32-answer-lost", [Rule("finalize", lose, times=1)], kind="passes",
         check=one_order_finalized_once),
    Case("ca33-order-lost", [Rule("new-order", lose, times=1)], ["ca33-order-lost.ca.localhost"]),
    Case("ca33-account-lost", [Rule("new-account", lose, times=1)], kind="first",
         check=one_account_key),
    # Certificates
    Case("ca34-other-key", [Rule("certificate", forged(key=OTHER_KEY), times=3)],
         ["the certificate is refused", "key"], check=another_order),
    *[Case(f"ca35-{what}", [Rule("certificate", forged(names=names), times=1)],
           ["the certificate is refused: it is for", names[0], "asked for was"],
           check=another_order)
      for what, names in (("other-names", ["foreign.test"]), ("wildcard", ["*.test"]),
                          ("more-names", ["ca35-more-names.test", "foreign.test"]))],
    Case("ca36-expired", [Rule("certificate", forged(days=-1, age=48 * HOUR), times=1)],
         ["it expired at", "is the clock of this machine right?"], check=another_order),
    Case("ca36-not-yet-valid", [Rule("certificate", forged(age=-48 * HOUR), times=1)],
         ["it is not valid before", "is the clock of this machine right?"], check=another_order),
    Case("ca37-no-chain", [Rule("certificate", forged(chain=lambda leaf, _: leaf), times=1)],
         ["the certificate of its issuer did not come with it"], check=another_order),
    Case("ca37-foreign-chain", [Rule("certificate", unlinked, times=3)],
         ["the certificate is refused"], check=another_order),
    Case("ca37-hundred-certificates", [Rule("certificate", forged(
        chain=lambda leaf, root: leaf + root * 100), times=3)], ["the certificate is refused"],
        check=another_order),
    Case("ca37-root-first", [Rule("certificate", forged(
        chain=lambda leaf, root: root + leaf), times=3)], ["the certificate is refused"],
        check=another_order),
    *[Case(f"ca37-{what}", [Rule("certificate", chain_edit(change), times=1)], kind="passes",
           check=one_order_finalized_once)
      for what, change in (("lines-end-in-crlf", lambda pem: pem.replace(b"\n", b"\r\n")),
                           ("text-between", lambda pem: pem.replace(
                               b"-----BEGIN", b"subject=/CN=x\n-----BEGIN")),
                           ("empty", lambda _: b""), ("garbage", lambda _: b"garbage"))],
    Case("ca39-not-there-yet", [Rule("certificate", answer(404), times=2)], kind="passes",
         check=one_order_finalized_once),
    Case("ca39-cut", [Rule("certificate", edit(cut), times=1)], kind="passes",
         check=one_order_finalized_once),
    # The directory
    Case("ca41-moved", [Rule("directory", answer(
        301, Location="https://new.ca.test/dir"), times=1)],
        ["301", "points to https://new.ca.test/dir, which is not followed"]),
    Case("ca41-page", [Rule("directory", answer(200, "<html>", "text/html"), times=1)],
         ["does not answer with an ACME directory", "check certificate_authority"]),
    Case("ca41-absent", [Rule("directory", answer(404, "no such page"), times=1)],
         ["404", "no such page"]),
    Case("ca42-first", [Rule("directory", answer(500, "for ever"))], ["500", "for ever"],
         settings={"second": "ca42-second"}, check=second_ca_made_it),
    *[Case(f"ca44-{kind.lower()}", [*ARI, Rule("new-order", problem(
        status, kind, "that certificate cannot be replaced"), when=replaces)], kind="passes")
      for status, kind in ((409, "alreadyReplaced"), (400, "malformed"), (403, "unauthorized"),
                           (500, "serverInternal"))],
    Case("ca45-profile-not-offered", [Rule("directory", members(meta={
        "profiles": {"classic": "old", "short": "new"}}), times=1)],
        ["does not offer the profile tlsserver; it offers classic, short", "change profile"],
        "lasting", settings={"profile": "tlsserver", "profile_mandatory": True}, check=A_DAY),
    *[Case(f"ca52-proxy-{what}", proxy=text, says=says)
      for what, text, says in (
          ("wants-a-password", b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n", ["407"]),
          ("refuses", b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", ["403"]),
          ("hangs-up", b"", ["roxy"]))],
]
