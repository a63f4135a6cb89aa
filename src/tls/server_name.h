// Server names as they come in a ClientHello, brought into the form in which names are compared.
#pragma once

#include <array>
#include <string_view>

namespace tls {

/// A name in lower case without a trailing dot, in a buffer of its own: no allocation. Not valid
/// ("" then): empty, longer than 253 bytes, or with bytes or labels that no DNS name has
/// (faults.md TL-09, TL-10). A "*" is such a byte: clients do not ask for wildcards.
class ServerName {
  public:
    explicit ServerName(std::string_view raw);

    bool valid() const { return size_ > 0; }
    std::string_view text() const { return {bytes_.data() + 1, size_}; }
    /// "*.example.org" for "www.example.org"; "" if there is one label only. Ends text().
    std::string_view to_wildcard();

  private:
    std::array<char, 255> bytes_;  // the first stays free for the "*" of a one-byte label
    size_t size_ = 0;
};

}  // namespace tls
