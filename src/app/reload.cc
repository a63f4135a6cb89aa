#include "app/server.h"

namespace app {

namespace {

template <typename T, typename Text>
std::vector<std::string> texts_of(const std::vector<T>& all, Text text) {
    std::vector<std::string> texts;
    for (const T& one : all) texts.push_back(text(one));
    return texts;
}

std::vector<std::string> listens_of(const Setup& setup) {
    return texts_of(setup.configuration.listens, [](const ListenSettings& listen) {
        return fmt::format("{} {} {} {}", listen.address ? listen.address->text() : "",
                           listen.protocol == proxy::Protocol::Https, listen.public_port,
                           listen.backlog);
    });
}

std::vector<std::string> admin_of(const Setup& setup) {
    auto texts = texts_of(setup.configuration.admin.listen,
                          [](const PlacedAddress& listen) { return listen.address.text(); });
    for (const std::string& host : setup.configuration.admin.hosts) texts.push_back(host);
    if (setup.configuration.admin.actions) texts.emplace_back("actions");
    return texts;
}

bool same_settings(const md::EngineSettings& a, const md::EngineSettings& b) {
    return a.check_interval == b.check_interval && a.initial_delay == b.initial_delay &&
           a.retry_delay == b.retry_delay && a.retry_failover == b.retry_failover &&
           a.activation_delay == b.activation_delay && a.message_command == b.message_command &&
           a.notify_command == b.notify_command &&
           a.challenge_dns01_command == b.challenge_dns01_command &&
           a.challenge_dns01_version == b.challenge_dns01_version &&
           a.command_timeout == b.command_timeout &&
           a.stapling_keep_response == b.stapling_keep_response &&
           a.stapling_renew_window == b.stapling_renew_window &&
           a.http_reachable == b.http_reachable && a.https_reachable == b.https_reachable;
}

}  // namespace

std::vector<std::string> changes_for_next_start(const Setup& before, const Setup& now,
                                                bool has_engine) {
    const Configuration& a = before.configuration;
    const Configuration& b = now.configuration;
    std::vector<std::string> changes;
    const auto differs = [&](bool different, std::string_view what) {
        if (different) changes.emplace_back(what);
    };
    differs(listens_of(before) != listens_of(now), "[[listen]]");
    differs(a.server.workers != b.server.workers, "server.workers");
    differs(a.server.user != b.server.user, "server.user");
    differs(a.server.access_log.path != b.server.access_log.path, "server.access_log");
    differs(admin_of(before) != admin_of(now), "[admin]");
    differs(a.tls.policy != b.tls.policy || a.tls.groups != b.tls.groups ||
                a.tls.certificates_decoded_max != b.tls.certificates_decoded_max,
            "[tls]");
    differs(a.limits.connections_max != b.limits.connections_max, "limits.connections_max");
    if (!has_engine) return changes;
    differs(before.engine.store_dir != now.engine.store_dir, "md.store_dir");
    differs(a.md.store_lock_wait != b.md.store_lock_wait, "md.store_locks");
    differs(!same_settings(before.engine, now.engine), "the engine's settings in [md]");
    return changes;
}

}  // namespace app
