// Orders (RFC 8555 7.1.3): as the CA tells them, and as order.json keeps them while a certificate
// is being obtained (mod_md.md 3.6).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "md/acme_client.h"
#include "md/store.h"

namespace md {

enum class OrderStatus : uint8_t { Pending, Ready, Processing, Valid, Invalid };
std::string_view order_status_name(OrderStatus status);

struct Order {
    std::string url;
    OrderStatus status = OrderStatus::Pending;
    std::vector<std::string> authorizations;
    std::string finalize;
    std::string certificate;  // set when valid
    // Ours, kept in order.json:
    std::vector<std::string> challenge_setups;  // "http-01:<name>"
    std::string key_file;                       // of the key whose certificate this is for
    base::Time created{};                       // when it was ordered; epoch: not known
    // Of the answer that this was read from:
    std::optional<Problem> error;  // the CA's, when invalid
    std::optional<base::Duration> retry_after;
};

/// nullopt: none, or a file that is of no use.
Outcome<std::optional<Order>> load_order(Store& store, const std::string& domain);
Outcome<void> save_order(Store& store, const std::string& domain, const Order& order);
Outcome<void> remove_order(Store& store, const std::string& domain);

/// A new order for exactly these names. `profile` may be "", and so may `replaces`, the id of the
/// certificate that it is to replace (RFC 9773 5); a CA that refuses because of that one gets an
/// order without it (faults.md CA-44).
Outcome<Order> create_order(AcmeClient& client, const std::vector<std::string>& names,
                            const std::string& profile, const std::string& replaces);
/// Reads it again, and checks that it is still for these names.
Outcome<void> refresh_order(AcmeClient& client, const std::vector<std::string>& names,
                            Order& order);
/// Sends the request; afterwards the order is processing or valid.
Outcome<void> finalize_order(AcmeClient& client, const std::vector<std::string>& names,
                             std::span<const uint8_t> csr_der, Order& order);
/// The chain in PEM, leaf first (mod_md.md 5.5, step 9). If the CA has several (RFC 8555 7.4.2) and
/// `preferred_chain` is not "", the first one that leads to a root of that common name; if none
/// does, the CA's default.
Outcome<std::string> download_certificate(AcmeClient& client, const std::string& url,
                                          const std::string& preferred_chain);

}  // namespace md
