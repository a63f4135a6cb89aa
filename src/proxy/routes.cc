#include "proxy/routes.h"

namespace proxy {

Routes::Routes(std::vector<std::shared_ptr<const Site>> sites, int default_site, Limits limits)
    : sites_(std::move(sites)), limits_(limits) {
    for (const auto& site : sites_) {
        for (const std::string& host : site->hosts) by_host_.emplace(host, site.get());
    }
    if (default_site >= 0) default_site_ = sites_[static_cast<size_t>(default_site)].get();
}

const Site* Routes::find(std::string_view host) const {
    if (const auto exact = by_host_.find(host); exact != by_host_.end()) return exact->second;
    const size_t dot = host.find('.');
    if (dot != std::string_view::npos && dot > 0) {
        // "*" and the rest stand one byte apart from "x.rest": looked up in a buffer on the stack.
        char wildcard[256];
        const std::string_view rest = host.substr(dot);
        if (rest.size() < sizeof wildcard) {
            wildcard[0] = '*';
            std::memcpy(wildcard + 1, rest.data(), rest.size());
            const auto found = by_host_.find(std::string_view(wildcard, rest.size() + 1));
            if (found != by_host_.end()) return found->second;
        }
    }
    return default_site_;
}

const std::string* CertificateStatusAnswers::find(const std::string& host) const {
    auto found = by_host.find(host);
    if (found == by_host.end()) {
        const size_t dot = host.find('.');
        if (dot == std::string::npos || dot == 0) return nullptr;
        found = by_host.find("*" + host.substr(dot));
    }
    return found == by_host.end() ? nullptr : found->second.get();
}

}  // namespace proxy
