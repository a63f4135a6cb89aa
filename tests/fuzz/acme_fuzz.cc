// Any answer of a CA: a letter that says to which question (directory, order, Authorization,
// account, problem), fields in lines of "name: value", an empty line, the body. What must hold: no
// URL that came from there is used unless it may be called; what is kept in the store is read again
// as the same; all texts are bounded; what is refused says why.
#include <algorithm>
#include <cctype>
#include <set>

#include "base/log.h"
#include "base/result.h"
#include "base/text.h"
#include "fuzz/map_store.h"
#include "md/acme_account.h"
#include "md/acme_authorization.h"
#include "md/acme_order.h"

namespace md {

namespace {

using base::check;

const std::string ca_url = "https://ca.example.net/dir";
const std::string account_id = "ACME-ca.example.net-0000";
const std::vector<std::string> names = {"a.example.org", "*.b.example.org", "192.0.2.1"};

constexpr std::string_view directory_text =
    R"({"newNonce":"https://ca.example.net/n","newAccount":"https://ca.example.net/a",)"
    R"("newOrder":"https://ca.example.net/o",)"
    R"("meta":{"termsOfService":"https://ca.example.net/t"}})";
constexpr std::string_view account_text = R"({"status":"valid","url":"https://ca.example.net/a/1",)"
                                          R"("ca-url":"https://ca.example.net/dir"})";

/// Time does not move but for those who sleep.
class StillClock final : public base::Clock {
  public:
    base::Time now() override { return now_; }
    bool sleep(base::Duration duration) override {
        now_ += duration;
        return true;
    }

  private:
    base::Time now_{std::chrono::hours{24 * 20'000}};
};

/// Gives the directory and nonces as a good CA does, and one answer to all else.
class OneAnswer final : public Transport {
  public:
    explicit OneAnswer(HttpResponse answer) : answer_(std::move(answer)) {}
    Outcome<HttpResponse> exchange(const HttpRequest& request) override {
        check(++requests_ < 100);
        check(url_refusal(request.url, ca_url).empty());
        if (request.method == "HEAD") return HttpResponse{200, {{"replay-nonce", "n"}}, ""};
        if (request.url == ca_url) return HttpResponse{200, {}, std::string(directory_text)};
        return answer_;
    }

  private:
    HttpResponse answer_;
    int requests_ = 0;
};

struct Input {
    char question = 0;
    HttpResponse answer;
};

/// "o201" begins an answer 201 to an order; without a number it is 200.
Input read_input(std::string_view text) {
    Input input;
    if (text.empty()) return input;
    input.question = text.front();
    text.remove_prefix(1);
    const auto take_line = [&] {
        const std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(text.size(), line.size() + 1));
        return line;
    };
    const std::string_view first = take_line();
    for (const char c : first.substr(0, 3)) {
        if (c >= '0' && c <= '9') input.answer.status = input.answer.status * 10 + (c - '0');
    }
    if (input.answer.status < 100) input.answer.status = 200;
    for (std::string_view line = take_line(); !line.empty(); line = take_line()) {
        const size_t colon = line.find(':');
        if (colon == std::string_view::npos) continue;
        input.answer.fields.emplace_back(base::to_lower(line.substr(0, colon)),
                                         base::trim(line.substr(colon + 1)));
    }
    input.answer.body = text;
    return input;
}

void check_problem(const Problem& problem) {
    check(!problem.message().empty());
    check(problem.type.size() <= 203);
    check(problem.subproblems.size() <= 100);
    if (problem.retry_after) {
        check(*problem.retry_after >= std::chrono::seconds{1});
        check(*problem.retry_after <= std::chrono::hours{24});
    }
}

void check_allowed(const std::string& url) {
    check(url_refusal(url, ca_url).empty());
}

void read_directory(const std::string& body) {
    auto directory = parse_directory(ca_url, body);
    if (!directory) return check_problem(directory.error());
    for (const std::string* needed :
         {&directory->new_nonce, &directory->new_account, &directory->new_order}) {
        check(!needed->empty());
        check_allowed(*needed);
    }
    for (const std::string* optional :
         {&directory->revoke_cert, &directory->key_change, &directory->renewal_info}) {
        if (!optional->empty()) check_allowed(*optional);
    }
    check(directory->profiles.size() <= 100);
    for (const std::string& profile : directory->profiles) {
        check(directory->profile(profile).has_value());
    }
}

void read_order(AcmeClient& client, Order order) {
    check_allowed(order.url);
    check_allowed(order.finalize);
    check(!order.authorizations.empty() && order.authorizations.size() <= 1000);
    for (const std::string& url : order.authorizations) check_allowed(url);
    const std::set<std::string> once(order.authorizations.begin(), order.authorizations.end());
    check(once.size() == order.authorizations.size());
    check(order.status != OrderStatus::Valid || !order.certificate.empty());
    if (!order.certificate.empty()) check_allowed(order.certificate);

    fuzz::MapStore store;
    order.key_file = "privkey.pem";
    check(save_order(store, "a.example.org", order).ok());
    auto kept = load_order(store, "a.example.org");
    check(kept.ok() && kept->has_value());
    check((*kept)->url == order.url && (*kept)->status == order.status);
    check((*kept)->authorizations == order.authorizations);
    check((*kept)->finalize == order.finalize && (*kept)->certificate == order.certificate);

    // The same answer says the same again.
    check(refresh_order(client, names, order).ok());
    check((*kept)->authorizations == order.authorizations);
}

void read_authorization(const Authorization& authorization) {
    check(std::find(names.begin(), names.end(), authorization.shown_name()) != names.end());
    check(authorization.challenges.size() <= 20);
    for (const Challenge& challenge : authorization.challenges) {
        if (challenge.type.empty()) {  // of no use but for what it tells
            check(challenge.error.has_value());
            continue;
        }
        // RFC 8555 8.1: a token becomes part of a path.
        check(!challenge.token.empty() && challenge.token.size() <= 256);
        check(std::all_of(challenge.token.begin(), challenge.token.end(), [](unsigned char c) {
            return std::isalnum(c) != 0 || c == '-' || c == '_';
        }));
        check_allowed(challenge.url);
    }
    check_problem(authorization.problem());
}

const AccountKey& account_key() {
    static auto key = AccountKey::generate();
    check(key.ok());
    return *key;
}

/// An account that the store knows is looked for, and registered anew if the CA has lost it.
void read_account(AcmeClient& client) {
    static auto pem = account_key().pem();
    check(pem.ok());
    fuzz::MapStore store;
    check(store.save(Group::Accounts, account_id, "account.json", account_text).ok());
    check(store.save_key(Group::Accounts, account_id, "account.pem", pem->text()).ok());
    Domain domain;
    domain.name = names.front();
    domain.names = names;
    domain.contacts = {"mailto:ops@example.org"};
    domain.agreement = "accepted";
    domain.ca_urls = {ca_url};
    AccountRegistry registry(store);
    auto account = registry.obtain(client, domain, account_id);
    auto kept = load_account(store, Group::Accounts, account_id);
    check(kept.ok() && kept->has_value());
    if (!account) return check_problem(account.error());
    check(account->id == account_id);
    check_allowed(account->url);
    check((*kept)->url == account->url && (*kept)->status == "valid");
}

void read_answer(const Input& input) {
    OneAnswer transport(input.answer);
    StillClock clock;
    const Domain domain;
    AcmeClient client(transport, clock, domain);
    check(client.open(ca_url).ok());
    client.use_account(account_key(), "https://ca.example.net/a/1");
    if (input.question == 'a') {
        read_account(client);
    } else if (input.question == 'A') {
        auto authorization = fetch_authorization(client, "https://ca.example.net/z/1", names);
        if (!authorization) return check_problem(authorization.error());
        read_authorization(*authorization);
    } else {
        auto order = create_order(client, names, "", "");
        if (!order) return check_problem(order.error());
        read_order(client, std::move(*order));
    }
}

void read_problem(const std::string& body) {
    auto problem = parse_problem(body);
    if (!problem) return;
    check_problem(*problem);
    check(problem->detail.size() <= 2048 + 3);
    for (const Subproblem& sub : problem->subproblems) {
        check(sub.type.size() <= 203 && sub.detail.size() <= 2051 && sub.identifier.size() <= 258);
    }
}

}  // namespace

}  // namespace md

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    base::Log::set_level(base::LogLevel::Error);  // what is refused a million times
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const md::Input input = md::read_input({reinterpret_cast<const char*>(data), size});
    switch (input.question) {
        case 'd':
            md::read_directory(input.answer.body);
            break;
        case 'p':
            md::read_problem(input.answer.body);
            break;
        case 'o':
        case 'A':
        case 'a':
            md::read_answer(input);
            break;
        default:
            break;
    }
    return 0;
}
