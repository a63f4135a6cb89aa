#include "proxy/routes.h"

namespace proxy {

Routes::Routes(std::vector<std::shared_ptr<const Site>> sites, int default_site, Limits limits)
    : sites_(std::move(sites)), limits_(limits) {
    for (const auto& site : sites_) {
        for (const std::string& host : site->hosts) by_host_.emplace(host, site.get());
    }
    if (default_site >= 0) default_site_ = sites_[static_cast<size_t>(default_site)].get();
}

namespace {

/// What `find` has for "*.parent" of that host; null: nothing.
template <typename Find>
auto find_wildcard(std::string_view host, Find find) -> decltype(find(host)) {
    const size_t dot = host.find('.');
    if (dot == std::string_view::npos || dot == 0) return nullptr;
    // "*" and the rest stand one byte apart from "x.rest": looked up in a buffer on the stack.
    char wildcard[256];
    const std::string_view rest = host.substr(dot);
    if (rest.size() >= sizeof wildcard) return nullptr;
    wildcard[0] = '*';
    std::memcpy(wildcard + 1, rest.data(), rest.size());
    return find(std::string_view(wildcard, rest.size() + 1));
}

}  // namespace

const Site* Routes::find(std::string_view host) const {
    const auto exact = [this](std::string_view name) {
        const auto found = by_host_.find(name);
        return found == by_host_.end() ? nullptr : found->second;
    };
    if (const Site* site = exact(host)) return site;
    const Site* wildcard = find_wildcard(host, exact);
    return wildcard != nullptr ? wildcard : default_site_;
}

const std::string* CertificateStatusAnswers::find(std::string_view host) const {
    const auto exact = [this](std::string_view name) -> const std::string* {
        const auto* body = by_host.find(name);
        return body == nullptr ? nullptr : body->get();
    };
    const std::string* body = exact(host);
    return body != nullptr ? body : find_wildcard(host, exact);
}

}  // namespace proxy
