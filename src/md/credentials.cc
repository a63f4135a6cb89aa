#include "md/credentials.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>

#include "base/log.h"
#include "base/text.h"
#include "md/file_store.h"
#include "md/store_crypto.h"

namespace md {

namespace {

constexpr std::string_view fallback_prefix = "fallback-";

/// A file without one PEM block counts as empty: mod_md's 120_003.
bool has_pem(std::string_view bytes) {
    return bytes.find("-----BEGIN ") != std::string_view::npos;
}

void set_fault(Slot& slot, Slot::Fault fault, std::string why) {
    slot.fault = fault;
    slot.why = std::move(why);
}

/// Fills in a slot from what was read. The paths are for messages.
void read_slot(Slot& slot, Outcome<std::optional<std::string>> chain,
               Outcome<std::optional<base::Secret>> key, const std::string& chain_path,
               const std::string& key_path) {
    if (!chain.ok()) return set_fault(slot, Slot::Fault::Broken, chain.error().message());
    if (!*chain || !has_pem(**chain)) {
        return set_fault(slot, Slot::Fault::Missing,
                         fmt::format("{} {}", chain_path,
                                     chain.value() ? "holds no certificate" : "is missing"));
    }
    if (!key.ok()) return set_fault(slot, Slot::Fault::Broken, key.error().message());
    if (!*key || !has_pem((*key)->text())) {
        return set_fault(
            slot, Slot::Fault::Missing,
            fmt::format("{} {}", key_path, key.value() ? "holds no private key" : "is missing"));
    }
    slot.chain_pem = std::move(**chain);
    slot.key_pem = std::move(**key);
    auto certificate = tls::read_certificate(slot.chain_pem, slot.key_pem.text());
    if (!certificate.ok()) {
        return set_fault(
            slot, Slot::Fault::Damaged,
            fmt::format("{} with {}: {}", chain_path, key_path, certificate.error().message()));
    }
    slot.certificate = *certificate;
    slot.fault = Slot::Fault::None;
}

/// A file that an administrator named: links are his to make.
Outcome<std::optional<base::Secret>> read_static(Files& files, const std::string& path) {
    std::error_code error;
    const std::filesystem::path real = std::filesystem::canonical(path, error);
    if (error) return file_problem(base::system_error(error.value(), "open"), path);
    const int directory = files.open_root(real.parent_path().string());
    if (directory < 0) {
        return file_problem(base::system_error(directory, "open directory"), path);
    }
    const FileHandle handle(files, directory);
    auto bytes =
        read_secret_file(files, directory, real.filename().string(), FileStore::file_bytes_max);
    if (!bytes.ok()) return file_problem(bytes.error(), path);
    return std::optional<base::Secret>(std::move(bytes).value());
}

/// A chain, in whose file a key may stand by mistake: that shows when the certificate is read.
Outcome<std::optional<std::string>> as_chain(const Outcome<std::optional<base::Secret>>& bytes) {
    if (!bytes.ok()) return bytes.error();
    if (!bytes.value()) return std::optional<std::string>();
    return std::optional<std::string>(bytes.value()->text());
}

StateReport error_in(const Slot& slot) {
    return {DomainState::Error,
            fmt::format("error initializing certificate({}): {}", slot.label, slot.why)};
}

}  // namespace

Slot Slot::without_texts() const {
    Slot slot;
    slot.spec = spec;
    slot.label = label;
    slot.certificate = certificate;
    slot.fault = fault;
    slot.why = why;
    return slot;
}

std::string key_file(const KeySpec& spec, std::string_view prefix) {
    return fmt::format("{}privkey{}.pem", prefix, spec.file_suffix());
}

std::string chain_file(const KeySpec& spec, std::string_view prefix) {
    return fmt::format("{}pubcert{}.pem", prefix, spec.file_suffix());
}

std::vector<Slot> load_credentials(Store& store, Group group, const std::string& name,
                                   const std::vector<KeySpec>& specs) {
    std::vector<Slot> slots;
    for (const KeySpec& spec : specs) {
        Slot slot;
        slot.spec = spec;
        slot.label = spec.status_name();
        const std::string place = fmt::format("{}/{}/", group_name(group), name);
        read_slot(slot, as_chain(store.load_key(group, name, chain_file(spec))),
                  store.load_key(group, name, key_file(spec)), place + chain_file(spec),
                  place + key_file(spec));
        slots.push_back(std::move(slot));
    }
    return slots;
}

std::vector<Slot> load_static_credentials(Files& files, const Domain& domain) {
    std::vector<Slot> slots;
    for (size_t i = 0; i < domain.certificate_files.size(); ++i) {
        Slot slot;
        slot.label = fmt::format("{}", i);
        const std::string& chain_path = domain.certificate_files[i];
        if (i < domain.certificate_key_files.size()) {
            const std::string& key_path = domain.certificate_key_files[i];
            read_slot(slot, as_chain(read_static(files, chain_path)), read_static(files, key_path),
                      chain_path, key_path);
        } else {
            set_fault(slot, Slot::Fault::Missing,
                      fmt::format("{} has no certificate_key_file", chain_path));
        }
        slots.push_back(std::move(slot));
    }
    return slots;
}

std::vector<Slot> load_live_credentials(Store& store, Files& files, const Domain& domain) {
    return domain.is_static()
               ? load_static_credentials(files, domain)
               : load_credentials(store, Group::Domains, domain.name, domain.key_specs());
}

std::optional<Slot> archived_credential(Store& store, const std::vector<std::string>& archives,
                                        const std::string& name, const KeySpec& spec) {
    const std::string prefix = name + ".";
    std::vector<std::pair<int, std::string>> ours;
    for (auto at = std::lower_bound(archives.begin(), archives.end(), prefix);
         at != archives.end() && at->starts_with(prefix); ++at) {
        int number = 0;
        const char* first = at->data() + prefix.size();
        const char* last = at->data() + at->size();
        const auto [end, error] = std::from_chars(first, last, number);
        if (error == std::errc{} && end == last) ours.emplace_back(number, *at);
    }
    std::sort(ours.rbegin(), ours.rend());
    for (const auto& [number, archive] : ours) {
        std::vector<Slot> slots = load_credentials(store, Group::Archive, archive, {spec});
        if (slots.front().certificate) return std::move(slots.front());
    }
    return std::nullopt;
}

Outcome<void> save_credential(Store& store, Group group, const std::string& name,
                              const KeySpec& spec, std::string_view chain_pem,
                              std::string_view key_pem) {
    auto key = store.save_key(group, name, key_file(spec), key_pem);
    if (!key.ok()) return key.error();
    return store.save(group, name, chain_file(spec), chain_pem);
}

StateReport evaluate_state(const Domain& domain, const std::vector<Slot>& slots) {
    if (slots.empty()) return {DomainState::Incomplete, "there is no certificate"};
    for (const Slot& slot : slots) {
        switch (slot.fault) {
            case Slot::Fault::None:
                break;
            case Slot::Fault::Missing:
                return {DomainState::Incomplete,
                        fmt::format("certificate({}) is missing: {}", slot.label, slot.why)};
            case Slot::Fault::Damaged:
                if (domain.is_static()) return error_in(slot);
                return {DomainState::Incomplete,
                        fmt::format("certificate({}) is damaged: {}", slot.label, slot.why)};
            case Slot::Fault::Broken:
                return error_in(slot);
        }
        const tls::Certificate& certificate = *slot.certificate;
        for (const std::string& name : domain.names) {
            if (!certificate.covers(name)) {
                return {DomainState::Incomplete,
                        fmt::format("certificate({}) does not cover all domains: {} is not in it",
                                    slot.label, name)};
            }
        }
        if (certificate.must_staple != domain.must_staple) {
            return {DomainState::Incomplete,
                    fmt::format("certificate({}) has{} must-staple, the configuration has{}",
                                slot.label, certificate.must_staple ? "" : " no",
                                domain.must_staple ? "" : " not")};
        }
    }
    return {DomainState::Complete, ""};
}

std::vector<std::shared_ptr<const tls::Certificate>> usable(const std::vector<Slot>& slots) {
    std::vector<std::shared_ptr<const tls::Certificate>> certificates;
    for (const Slot& slot : slots) {
        if (slot.certificate) certificates.push_back(slot.certificate);
    }
    return certificates;
}

Outcome<std::shared_ptr<const tls::Certificate>> fallback_certificate(Store& store,
                                                                      const Domain& domain,
                                                                      base::Time now) {
    const std::string key_name = key_file({}, fallback_prefix);
    const std::string chain_name = chain_file({}, fallback_prefix);
    auto chain = store.load(Group::Domains, domain.name, chain_name);
    auto key = store.load_key(Group::Domains, domain.name, key_name);
    if (chain.ok() && key.ok() && *chain && *key) {
        auto stored = tls::read_certificate(**chain, (*key)->text());
        if (stored.ok()) {
            auto copy = std::make_shared<tls::Certificate>(**stored);
            copy->fallback = true;
            const bool covers =
                std::all_of(domain.names.begin(), domain.names.end(),
                            [&](const std::string& name) { return copy->covers(name); });
            if (covers && copy->not_before <= now && now < copy->not_after) {
                return std::shared_ptr<const tls::Certificate>(std::move(copy));
            }
        }
    }
    auto made = tls::make_fallback_certificate(domain.names, now);
    if (!made.ok()) {
        return make_problem(EINVAL, fmt::format("{}: no fallback certificate can be made: {}",
                                                domain.name, made.error().message()));
    }
    auto copy = std::make_shared<tls::Certificate>(**made);
    copy->fallback = true;
    // Keeping it is a courtesy to clients that remember it: a store that cannot be written does not
    // keep us from serving.
    const base::Secret pem = key_to_pem(*copy);
    auto saved = store.save_key(Group::Domains, domain.name, key_name, pem.text());
    if (saved.ok())
        saved = store.save(Group::Domains, domain.name, chain_name, chain_to_pem(*copy));
    if (!saved.ok()) {
        base::log_warn("md", domain.name, "the fallback certificate is not saved: {}",
                       saved.error().message());
    }
    return std::shared_ptr<const tls::Certificate>(std::move(copy));
}

std::string chain_to_pem(const tls::Certificate& certificate) {
    std::string pem = to_pem("CERTIFICATE", certificate.leaf);
    for (const auto& der : certificate.chain) pem += to_pem("CERTIFICATE", *der);
    return pem;
}

base::Secret key_to_pem(const tls::Certificate& certificate) {
    base::check(certificate.key != nullptr);
    return to_secret_pem("PRIVATE KEY", certificate.key->bytes());
}

}  // namespace md
