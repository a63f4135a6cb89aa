#include "app/config/access_checks.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>

#include "app/config/checks.h"
#include "app/identity.h"
#include "app/ownership.h"
#include "md/command_line.h"

namespace app {

namespace {

std::string directory_of(const std::string& path) {
    const std::string parent = std::filesystem::path(path).parent_path().string();
    return parent.empty() ? "." : parent;
}

/// 0 or the errno, for whom the thread runs as.
int why_not(const std::string& path, int mode) {
    return ::access(path.c_str(), mode) == 0 ? 0 : errno;
}

/// Others than these (there is no such file, say) are root's mistakes as well, and told elsewhere.
bool is_forbidden(int error) {
    return error == EACCES || error == EPERM;
}

/// The path itself, or the last directory above it that is there.
std::string nearest_existing(const std::string& path) {
    std::error_code error;
    std::filesystem::path at = std::filesystem::absolute(path, error);
    while (!error && at.has_relative_path() && ::access(at.c_str(), F_OK) != 0) {
        at = at.parent_path();
    }
    return at.string();
}

/// What is asked for one user, on a thread with its rights.
class UserChecks {
  public:
    UserChecks(const Configuration& configuration, const std::string& user, Mistakes& mistakes)
        : configuration_(configuration), user_(user), mistakes_(mistakes) {}

    void run(const std::string& store_way) {
        check_store(store_way);
        check_roots();
        check_certificates();
        check_commands();
        for (const Mistakes::ReadFile& file : mistakes_.read_files()) {
            warn_of_reload(file.place, file.path);
        }
    }

  private:
    void check_store(const std::string& way) {
        if (configuration_.domains.empty()) return;  // as check_configuration()
        // The store itself is given to the user.
        const std::string whole = std::filesystem::absolute(configuration_.md.store_dir).string();
        const bool is_there = way == whole;
        const int error = why_not(way, is_there ? F_OK : X_OK);
        if (!is_forbidden(error)) return;
        const MdSettings& md = configuration_.md;
        mistakes_.add(md.store_place.file ? md.store_place : configuration_.server.user_place,
                      "store_dir: {} is out of reach of the user {}: {}; let it through the "
                      "directories above (chmod o+x)",
                      md.store_dir, user_, std::strerror(error));
    }

    /// Roots to trust are read whenever a CA is asked.
    void check_roots() {
        std::set<std::string> told;
        const auto ask = [&](const char* key, const DomainSettings& domain, bool is_own,
                             const std::optional<std::string>& path) {
            if (!path || path->empty()) return;
            const int error = why_not(*path, R_OK);
            if (!is_forbidden(error) || !told.insert(*path).second) return;
            mistakes_.add(is_own ? domain.place : configuration_.md.place,
                          "{}: {} cannot be read by the user {}: {}; run chmod a+r on it, and a+x "
                          "on the directories above",
                          key, *path, user_, std::strerror(error));
        };
        for (const DomainSettings& domain : configuration_.domains) {
            const DomainDirectives& own = domain.directives;
            using D = DomainDirectives;
            ask("ca_certificate_file", domain, own.ca_certificate_file.has_value(),
                inherited<&D::ca_certificate_file>(configuration_, domain));
            ask("http_proxy_ca_certificate_file", domain, own.http_proxy_ca_file.has_value(),
                inherited<&D::http_proxy_ca_file>(configuration_, domain));
        }
    }

    void check_certificates() {
        for (const DomainSettings& domain : configuration_.domains) {
            for (const auto* files : {&domain.certificate_files, &domain.key_files}) {
                for (const std::string& path : *files) {
                    const int error = why_not(path, R_OK);
                    if (!is_forbidden(error)) continue;
                    mistakes_.add(domain.place,
                                  "{} cannot be read by the user {}, who serves it: {}; let that "
                                  "user read it (chgrp and chmod 640)",
                                  path, user_, std::strerror(error));
                }
            }
        }
        for (const SiteSettings& site : configuration_.sites) {
            for (const std::string& path : site.certificate_files) {
                warn_of_reload(site.certificate_place, path);
            }
            for (const std::string& path : site.key_files) {
                warn_of_reload(site.certificate_place, path);
            }
        }
    }

    void warn_of_reload(const Place& place, const std::string& path) {
        const int error = why_not(path, R_OK);
        if (!is_forbidden(error)) return;
        mistakes_.warn(place,
                       "{} can be read at the start, by root, and not by the user {}: every reload "
                       "will be refused; let that user read it (chgrp and chmod 640)",
                       path, user_);
    }

    void check_commands() {
        const Place& md = configuration_.md.place;
        check_command("message_cmd", md, configuration_.md.message_command);
        check_command("notify_cmd", md, configuration_.md.notify_command);
        const auto& general = configuration_.md.directives.challenge_dns01;
        check_command("challenge_dns01", md, general.value_or(""));
        for (const DomainSettings& domain : configuration_.domains) {
            check_command("challenge_dns01", domain.place,
                          domain.directives.challenge_dns01.value_or(""));
        }
    }

    void check_command(const char* key, const Place& place, const std::string& line) {
        if (line.empty()) return;
        auto words = md::split_command_line(line);
        if (!words) return;  // told by its reader
        const auto program = md::find_program(words->front());
        if (program || !is_forbidden(program.error().status)) return;
        mistakes_.add(place, "{}: the user {} runs it, and cannot: {}", key, user_,
                      program.error().detail);
    }

    const Configuration& configuration_;
    const std::string& user_;
    Mistakes& mistakes_;
};

/// Whoever writes the log opens it, again at each SIGUSR1. `is_made_by_root`: where it is missing
/// (ownership.h).
void check_log(const AccessLogSettings& log, const std::string& user, bool is_made_by_root,
               Mistakes& mistakes) {
    if (log.path.empty() || log.path == "-") return;
    const std::string directory = directory_of(log.path);
    const int missing = why_not(log.path, F_OK);
    const int error =
        why_not(missing == 0 ? log.path : directory, missing == 0 ? W_OK : W_OK | X_OK);
    if (error == 0 || error == ENOENT || error == ENOTDIR) return;  // the latter are told elsewhere
    if (user.empty()) {
        mistakes.add(log.place, "access_log: {} cannot be written: {}", log.path,
                     std::strerror(error));
    } else if (missing == 0) {
        mistakes.add(log.place,
                     "access_log: {} cannot be written by the user {}: {}; run chown {} on it",
                     log.path, user, std::strerror(error), user);
    } else if (missing != ENOENT || !is_made_by_root || why_not(directory, X_OK) != 0) {
        mistakes.add(log.place,
                     "access_log: {} cannot be made by the user {}: {}; let it have {} (install -d "
                     "-o {} -g adm -m 750), or make the file for it",
                     log.path, user, std::strerror(error), directory, user);
    } else {
        mistakes.warn(log.place,
                      "access_log: {} is made at the start, by root; after a rotation the user {} "
                      "cannot make it anew: let logrotate do that (create 0640 {} adm)",
                      log.path, user, user);
    }
}

}  // namespace

void check_access(const Configuration& configuration, Mistakes& mistakes) {
    const AccessLogSettings& log = configuration.server.access_log;
    const auto user = user_after_start(configuration.server.user);
    if (!user) return check_log(log, "", false, mistakes);
    // What only root can see is looked at before.
    const bool is_made_by_root = is_roots_alone(directory_of(log.path));
    const std::string way = nearest_existing(configuration.md.store_dir);
    UserChecks checks(configuration, user->name, mistakes);
    const bool ran = run_as(*user, [&] {
        check_log(log, user->name, is_made_by_root, mistakes);
        checks.run(way);
    });
    if (!ran) {
        mistakes.add(configuration.server.user_place,
                     "user: root cannot become \"{}\" here, in a user namespace or without the "
                     "capabilities to (CAP_SETUID, CAP_SETGID)",
                     user->name);
    }
}

}  // namespace app
