// dns-01 (RFC 8555 8.4): a TXT record at _acme-challenge.<name>, which a program of the
// administrator's makes and removes (mod_md.md 5.8). It is run once for each authorization: a name
// and its wildcard have two values under one name.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "md/commands.h"
#include "md/domain.h"

namespace md {

inline constexpr std::string_view dns01 = "dns-01";

/// The program for a domain: its own, or that of all; "" if there is none.
const std::string& dns01_command(const Domain& domain, const EngineSettings& settings);

/// One value of one name, as order.json keeps it: "dns-01:<name> <value>".
struct Dns01Record {
    std::string name;   // without "*." and "_acme-challenge."
    std::string value;  // of the TXT record

    std::string setup() const;
    /// nullopt if the text is another type's, or none that we would have written: it is given to a
    /// program.
    static std::optional<Dns01Record> parse(std::string_view setup);
};

/// RFC 8555 8.4: base64url of the SHA-256 of the key authorization.
std::string dns01_value(const std::string& key_authorization);

/// Runs the program for one domain. What is given must outlive it.
class Dns01 {
  public:
    Dns01(Commands& commands, const EngineSettings& settings, const Domain& domain,
          std::stop_token stop)
        : commands_(commands), settings_(settings), domain_(domain), stop_(std::move(stop)) {}

    /// `<words…> setup <name> <value>`. When it returns the record has to be visible to the CA.
    /// `has_run`: the program ran, so that something may be there even after a failure.
    Outcome<void> set_up(const Dns01Record& record, bool& has_run) const;
    /// `<words…> teardown <name>`, in version 2 with the value. A failure is logged. False if the
    /// engine stops: then it is still to be done.
    bool tear_down(const Dns01Record& record) const;

  private:
    Outcome<void> run(std::string_view action, const Dns01Record& record, bool with_value,
                      bool& has_run) const;

    Commands& commands_;
    const EngineSettings& settings_;
    const Domain& domain_;
    const std::stop_token stop_;
};

}  // namespace md
