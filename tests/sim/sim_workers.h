// The workers, as far as staples go: they hand out what the stapler had when they were told last.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "md/ports.h"

namespace md::test {

class SimWorkers final : public StaplePort {
  public:
    using Certificates = std::vector<std::shared_ptr<const tls::Certificate>>;

    /// The stapler of the process that runs now; null: there is none.
    void use(StapleSource* source) {
        source_ = source;
        held_.clear();
    }
    void staples_changed(const std::string&, const Certificates& certificates) override {
        for (const auto& one : certificates) held_[one->sha256] = source_->staple_of(*one);
    }
    /// They have new sets of certificates, with their staples.
    void take(const Certificates& certificates) { staples_changed("", certificates); }
    /// What a client gets.
    std::shared_ptr<const tls::Staple> staple_of(const tls::Certificate& certificate,
                                                 base::Time now) const {
        const auto at = held_.find(certificate.sha256);
        const bool is_there = at != held_.end() && at->second && at->second->until > now;
        return is_there ? at->second : nullptr;
    }

  private:
    StapleSource* source_ = nullptr;
    std::map<std::array<uint8_t, 32>, std::shared_ptr<const tls::Staple>> held_;
};

}  // namespace md::test
