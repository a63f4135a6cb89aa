// Keys for certificates from a small stock, so that a simulated year does not spend its time on
// making them: an RSA key takes 100 ms. One after the other, and none that is in use, so that a
// certificate with the key of its predecessor is noticed.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "md/key_factory.h"
#include "md/mini_ca.h"

namespace md::test {

class SimKeys final : public KeyFactory {
  public:
    static constexpr size_t of_each_kind = 10;

    /// Whether a key in PEM must not be given: it may be somebody's, who has lost it.
    std::function<bool(std::string_view pem)> is_in_use;

    Outcome<base::Secret> make(const KeySpec& spec) override {
        static std::map<std::string, std::vector<base::Secret>> stock;
        std::vector<base::Secret>& keys = stock[spec.status_name()];
        while (keys.size() < of_each_kind) keys.push_back(take(generate_key(spec)));
        size_t& next = next_[spec.status_name()];
        for (size_t i = 0;
             i < of_each_kind && is_in_use && is_in_use(keys[next % of_each_kind].text()); ++i) {
            ++next;
        }
        return keys[next++ % of_each_kind].copy();
    }

  private:
    std::map<std::string, size_t> next_;
};

}  // namespace md::test
