#include "md/acme_order.h"

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/log.h"
#include "base/text.h"
#include "md/acme_json.h"
#include "md/csr.h"
#include "md/poll.h"
#include "md/store_crypto.h"

namespace md {

namespace {

const std::string order_file = "order.json";
constexpr size_t authorizations_max = 1000;
constexpr int chain_certificates_max = 10;
constexpr size_t alternates_max = 20;  // chains that are looked at (faults.md CA-38)
constexpr int bad_answer = 20014;

struct StatusName {
    OrderStatus status;
    std::string_view name;
};
constexpr StatusName status_names[] = {
    {OrderStatus::Pending, "pending"},       {OrderStatus::Ready, "ready"},
    {OrderStatus::Processing, "processing"}, {OrderStatus::Valid, "valid"},
    {OrderStatus::Invalid, "invalid"},
};

std::optional<OrderStatus> parse_status(std::string_view text) {
    for (const StatusName& known : status_names) {
        if (known.name == text) return known.status;
    }
    return std::nullopt;
}

/// Exactly the names asked for, in any order (faults.md CA-24).
bool is_for(const std::vector<Json>& identifiers, const std::vector<std::string>& names) {
    std::set<std::string> found;
    for (const Json& identifier : identifiers) {
        std::optional<std::string> name = identified_name(identifier);
        if (!name) return false;
        found.insert(std::move(*name));
    }
    return found == std::set<std::string>(names.begin(), names.end());
}

/// Reads an order object into `order`, whose url and challenge_setups stay.
Outcome<void> read_order(const AcmeClient& client, const HttpResponse& response,
                         const std::vector<std::string>& names, Order& order) {
    const auto json = parse_acme_json(response.body);
    if (!json) return make_problem(bad_answer, "the CA's order is not JSON");
    ObjectReader reader(*json, "the CA's order");
    const std::string status_text = reader.required_string("status");
    std::vector<std::string> authorizations = reader.optional_strings("authorizations");
    const std::string finalize = reader.required_string("finalize");
    const std::string certificate = reader.optional_string("certificate");
    const std::vector<Json> identifiers = reader.required_objects("identifiers");
    const Json* error = reader.optional_object("error");
    const auto status = parse_status(status_text);
    if (!status) reader.fail("has the unknown status " + base::escape_for_log(status_text, 50));
    if (authorizations.empty()) reader.fail("has no authorizations");
    if (authorizations.size() > authorizations_max) reader.fail("has too many authorizations");
    if (status == OrderStatus::Valid && certificate.empty()) {
        reader.fail("is valid and has no certificate");
    }
    if (reader.ok() && !is_for(identifiers, names)) {
        reader.fail("is for other names than those asked for");
    }
    if (!reader.ok()) return make_problem(bad_answer, reader.error());
    std::vector<std::string> urls = authorizations;
    urls.push_back(finalize);
    if (!certificate.empty()) urls.push_back(certificate);
    for (const std::string& url : urls) {
        if (auto allowed = client.check_url(url); !allowed) return allowed.error();
    }
    order.status = *status;
    order.finalize = finalize;
    order.certificate = certificate;
    order.authorizations.clear();
    for (std::string& url : authorizations) {
        const auto known = std::find(order.authorizations.begin(), order.authorizations.end(), url);
        if (known == order.authorizations.end()) order.authorizations.push_back(std::move(url));
    }
    order.error = error != nullptr ? parse_problem(error->dump()) : std::nullopt;
    order.retry_after = client.retry_after(response);
    return {};
}

/// Besides being replaced already, the certificate may be one that the CA does not know (any more),
/// or another account's, from before ours was lost: without this, it could never be renewed. Pebble
/// says serverInternal if the serial's DER begins with a zero byte.
bool may_be_about_replaces(const Problem& problem) {
    if (problem.retry_after) return false;
    for (const char* name : {"alreadyReplaced", "malformed", "unauthorized", "serverInternal"}) {
        if (is_acme_error(problem, name)) return true;
    }
    return false;
}

size_t count_pem_blocks(std::string_view body) {
    size_t count = 0;
    for (size_t at = body.find("-----BEGIN "); at != std::string_view::npos;
         at = body.find("-----BEGIN ", at + 1)) {
        ++count;
    }
    return count;
}

/// One chain; `alternates` gets the URLs of others.
Outcome<std::string> download_chain(AcmeClient& client, const std::string& url,
                                    std::vector<std::string>* alternates) {
    std::string pem;
    std::string next = url;
    for (int i = 0; i < chain_certificates_max; ++i) {
        auto response = client.post_as_get(next);
        if (!response) return response.error();
        if (response->body.empty()) {
            return make_problem(bad_answer, "the CA sent an empty certificate");
        }
        if (i == 0 && alternates != nullptr) *alternates = links(*response, "alternate");
        if (response->field("content-type").starts_with("application/pkcs7")) break;
        // Any type that parses (faults.md CA-14): what it is shows in the text.
        const size_t blocks = count_pem_blocks(response->body);
        if (blocks > 0) {
            pem += response->body;
        } else {
            const auto* der = reinterpret_cast<const uint8_t*>(response->body.data());
            pem += to_pem("CERTIFICATE", std::span(der, response->body.size()));
        }
        const std::vector<std::string> up = links(*response, "up");
        if (blocks > 1 || up.empty()) break;
        next = up.front();
        if (auto allowed = client.check_url(next); !allowed) return allowed.error();
    }
    return pem;
}

}  // namespace

std::string_view order_status_name(OrderStatus status) {
    for (const StatusName& known : status_names) {
        if (known.status == status) return known.name;
    }
    return {};
}

Outcome<std::optional<Order>> load_order(Store& store, const std::string& domain) {
    auto text = store.load(Group::Staging, domain, order_file);
    if (!text) return text.error();
    if (!*text) return std::optional<Order>();
    const auto json = parse_acme_json(**text);
    if (!json || !json->is_object()) return std::optional<Order>();
    Order order;
    order.url = string_at(*json, {"url"});
    if (order.url.empty()) return std::optional<Order>();
    order.status = parse_status(string_at(*json, {"status"})).value_or(OrderStatus::Pending);
    order.authorizations = strings_at(*json, {"authorizations"});
    order.challenge_setups = strings_at(*json, {"challenge-setups"});
    order.finalize = string_at(*json, {"finalize"});
    order.certificate = string_at(*json, {"certificate"});
    order.key_file = string_at(*json, {"privkey"});
    order.created = time_at(*json, {"created"}).value_or(base::Time{});
    return std::optional<Order>(std::move(order));
}

Outcome<void> save_order(Store& store, const std::string& domain, const Order& order) {
    Json json;
    json["url"] = order.url;
    json["status"] = order_status_name(order.status);
    json["authorizations"] = order.authorizations;
    json["challenge-setups"] = order.challenge_setups;
    if (!order.finalize.empty()) json["finalize"] = order.finalize;
    if (!order.certificate.empty()) json["certificate"] = order.certificate;
    if (!order.key_file.empty()) json["privkey"] = order.key_file;
    if (order.created != base::Time{}) json["created"] = base::format_http_date(order.created);
    return store.save(Group::Staging, domain, order_file, json_text(json));
}

Outcome<void> remove_order(Store& store, const std::string& domain) {
    return store.remove(Group::Staging, domain, order_file);
}

Outcome<Order> create_order(AcmeClient& client, const std::vector<std::string>& names,
                            const std::string& profile, const std::string& replaces) {
    Json payload;
    payload["identifiers"] = Json::array();
    for (const std::string& name : names) {
        payload["identifiers"].push_back(make_identifier(name));
    }
    if (!profile.empty()) payload["profile"] = profile;
    if (!replaces.empty()) payload["replaces"] = replaces;
    auto response = client.post(client.directory().new_order, payload.dump());
    if (!response && !replaces.empty() && may_be_about_replaces(response.error())) {
        payload.erase("replaces");
        response = client.post(client.directory().new_order, payload.dump());
    }
    if (!response) return response.error();
    auto url = client.location(*response);
    if (!url) return url.error();
    Order order;
    order.url = std::move(url).value();
    if (auto read = read_order(client, *response, names, order); !read) return read.error();
    return order;
}

Outcome<void> refresh_order(AcmeClient& client, const std::vector<std::string>& names,
                            Order& order) {
    auto response = client.post_as_get(order.url);
    if (!response) return response.error();
    return read_order(client, *response, names, order);
}

Outcome<void> finalize_order(AcmeClient& client, const std::vector<std::string>& names,
                             std::span<const uint8_t> csr_der, Order& order) {
    Json payload;
    payload["csr"] = base::base64url(csr_der);
    auto response = client.post(order.finalize, payload.dump());
    if (!response) return response.error();
    return read_order(client, *response, names, order);
}

Outcome<std::string> download_certificate(AcmeClient& client, const std::string& url,
                                          const std::string& preferred_chain) {
    std::vector<std::string> alternates;
    auto chain = download_chain(client, url, &alternates);
    if (!chain || preferred_chain.empty()) return chain;
    const std::string default_root = root_name(*chain);
    if (base::iequals(default_root, preferred_chain)) return chain;
    std::set<std::string> seen{url};
    std::string offered = default_root;
    for (const std::string& alternate : alternates) {
        if (!seen.insert(alternate).second || seen.size() > alternates_max) continue;
        if (auto allowed = client.check_url(alternate); !allowed) continue;
        auto other = download_chain(client, alternate, nullptr);
        if (!other) {
            if (is_stopping(other.error())) return other;
            base::log_warn("md", client.domain_name(), "an alternate chain is passed over: {}",
                           base::escape_for_log(other.error().message()));
            continue;
        }
        const std::string root = root_name(*other);
        if (base::iequals(root, preferred_chain)) return other;
        offered += ", " + root;
    }
    base::log_warn("md", client.domain_name(),
                   "the CA has no chain to {}, the preferred_chain, and its default is used; it "
                   "has: {}",
                   preferred_chain, base::escape_for_log(offered));
    return chain;
}

}  // namespace md
