#include "request_maker.h"

namespace sim::front {

namespace {

uint64_t body_size(Dice& dice) {
    if (dice.chance(700)) return dice.below(800);
    if (dice.chance(850)) return dice.some_of(40'000);
    return dice.some_of(300'000);
}

/// The same host, as clients may write it.
std::string written(Dice& dice, std::string host, bool is_tls) {
    if (dice.chance(30)) host[0] = static_cast<char>(host[0] & ~0x20);
    if (dice.chance(20)) host += '.';
    if (dice.chance(50)) host += is_tls ? ":443" : ":80";
    return host;
}

/// Whom it is for, and what that means.
void choose_host(Scene& scene, Dice& dice, const ClientFacts& client, Request& request) {
    const auto any_of = [&](int site) {
        const auto& hosts = scene.sites[static_cast<size_t>(site)].hosts;
        return hosts[dice.below(hosts.size())];
    };
    request.site = client.site;
    std::string host = client.is_tls ? client.name : any_of(client.site);
    if (dice.chance(40)) {
        request.site = static_cast<int>(dice.below(scene.sites.size()));
        host = any_of(request.site);
    } else if (dice.chance(10)) {
        request.site = -1;
        host = "nobody.test";
    }
    request.host = written(dice, host, client.is_tls);
    if (request.site < 0) {
        request.local_status = client.is_tls ? 421 : 404;
        return;
    }
    const auto& theirs = scene.sites[static_cast<size_t>(request.site)];
    const auto& shown = scene.sites[static_cast<size_t>(client.site)];
    if (client.is_tls && theirs.certificate != shown.certificate) request.local_status = 421;
}

void choose_method(Dice& dice, Request& request) {
    struct Choice {
        const char* method;
        uint32_t weight;
        bool is_idempotent;
        uint32_t with_body;  // per mille
    };
    static constexpr Choice choices[] = {
        {"GET", 620, true, 15},    {"POST", 160, false, 950}, {"HEAD", 90, true, 0},
        {"PUT", 70, true, 950},    {"DELETE", 25, true, 50},  {"OPTIONS", 20, true, 20},
        {"PATCH", 15, false, 900},
    };
    uint64_t at = dice.below(1000);
    for (const Choice& choice : choices) {
        if (at >= choice.weight) {
            at -= choice.weight;
            continue;
        }
        request.method = choice.method;
        request.is_idempotent = choice.is_idempotent;
        request.is_to_head = request.method == "HEAD";
        if (dice.chance(choice.with_body)) {
            const bool chunked = request.minor > 0 && dice.chance(400);
            request.framing = chunked ? Framing::Chunked : Framing::Length;
            request.body_size = body_size(dice);
        }
        return;
    }
}

/// Fields that a server has to see, or must not.
void add_fields(Dice& dice, const Request& request, std::string& head) {
    if (dice.chance(100)) {
        head +=
            "X-Forwarded-For: 203.0.113.66\r\nX-Forwarded-Proto: gopher\r\n"
            "X-Real-IP: 203.0.113.66\r\nForwarded: for=203.0.113.66\r\n"
            "X-Forwarded-Host: evil.test\r\nX-Forwarded-Scheme: x\r\n";
    }
    if (dice.chance(100)) head += "Proxy: http://evil.test/\r\nX_Tag: false\r\n";
    if (dice.chance(60)) head += "TE: trailers\r\nKeep-Alive: timeout=5\r\n";
    head += "X-Tag: " + request.tag + "\r\n";
    if (dice.chance(300)) head += "User-Agent: " + std::string(dice.some_of(200), 'u') + "\r\n";
    if (dice.chance(30)) head += "Cookie: " + std::string(dice.some_of(12'000), 'c') + "\r\n";
    if (dice.chance(20)) head += "X-More: " + std::string(dice.some_of(9'000), 'm') + "\r\n";
}

void add_framing(Dice& dice, Request& request, std::string& head) {
    if (request.framing == Framing::Length) {
        const bool zeros = dice.chance(30);
        head += (zeros ? "Content-Length: 000" : "Content-Length: ") +
                std::to_string(request.body_size) + "\r\n";
    } else if (request.framing == Framing::Chunked) {
        head +=
            dice.chance(50) ? "Transfer-Encoding: cHuNkEd\r\n" : "Transfer-Encoding: chunked\r\n";
    }
    const bool may_expect = request.method != "GET" && request.minor > 0 &&
                            (request.framing == Framing::Chunked || request.body_size > 0);
    if (may_expect && request.framing != Framing::None && dice.chance(120)) {
        head += "Expect: 100-continue\r\n";
        request.expects_continue = true;
    }
}

/// Paths under which the front may answer with a challenge's proof, or anything else.
std::string choose_path(Scene& scene, Dice& dice, Request& request) {
    if (dice.chance(30) && !scene.tokens.empty()) {
        const std::string& token = scene.tokens[dice.below(scene.tokens.size())];
        if (request.method == "GET" || request.is_to_head) {
            const bool is_its_host = request.site == 0;
            if (is_its_host) request.local_body = Scene::key_authorization(token);
            return challenge_prefix + token;
        }
    }
    if (dice.chance(20)) return std::string(challenge_prefix) + "unknown";
    if (dice.chance(30)) return "/%2e%2e/" + std::string(dice.some_of(3'000), 'p');
    return "/page";
}

}  // namespace

Draft make_request(Scene& scene, Dice& dice, const ClientFacts& client, bool is_last) {
    Request request;
    request.client = client.number;
    request.is_tls = client.is_tls;
    request.is_slow = client.is_slow;
    request.client_address = client.address;
    request.minor = dice.chance(40) ? 0 : 1;
    request.tag = pattern_text(dice.next(), 1 + dice.below(12));
    choose_method(dice, request);
    choose_host(scene, dice, client, request);
    const bool wants_upgrade = request.minor > 0 && request.method == "GET" &&
                               request.framing == Framing::None && is_last && dice.chance(80);
    request.is_websocket = wants_upgrade;
    const std::string path = choose_path(scene, dice, request);
    const bool is_well_known = path.starts_with("/.well-known/");
    if (request.local_status == 0 && request.site >= 0 && !client.is_tls && !is_well_known &&
        scene.sites[static_cast<size_t>(request.site)].requires_https) {
        const bool is_safe = request.method == "GET" || request.is_to_head;
        request.local_status = is_safe ? 301 : 308;
    }
    const uint64_t most = scene.request_body_max;
    if (most > 0 && request.body_size > most) {
        request.kind = request.framing == Framing::Length ? Kind::BadHead : Kind::BadBody;
    }

    std::string fields;
    add_framing(dice, request, fields);
    add_fields(dice, request, fields);
    bool closes = false;
    if (request.is_websocket) {
        fields += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    } else if (dice.chance(40)) {
        fields += "Connection: X-Hop\r\nX-Hop: 1\r\n";
        closes = request.minor == 0;
    } else if (is_last && dice.chance(300)) {
        fields += "Connection: close\r\n";
        closes = true;
    } else if (request.minor == 0) {
        closes = !dice.chance(500);
        if (!closes) fields += "Connection: keep-alive\r\n";
    } else if (dice.chance(30)) {
        fields += "Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    }

    Request& opened = scene.oracle.open(std::move(request), dice.next());
    opened.target = path + "?r=" + std::to_string(opened.id);
    std::string target = opened.target;
    if (dice.chance(20)) {
        target = (client.is_tls ? "https://" : "http://") + opened.host + target;
    }
    std::string head = opened.method + " " + target +
                       (opened.minor == 0 ? " HTTP/1.0" : " HTTP/1.1") +
                       "\r\nHost: " + opened.host + "\r\n" + fields + "\r\n";
    return {&opened, std::move(head), closes};
}

}  // namespace sim::front
