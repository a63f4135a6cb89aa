// Where keys for certificates come from: OpenSSL, unless a simulation that makes thousands of
// certificates has some at hand (design.md, section 3). Engine threads.
#pragma once

#include "md/csr.h"

namespace md {

class KeyFactory {
  public:
    virtual ~KeyFactory() = default;
    /// A key that nobody else has: plain PKCS#8 PEM.
    virtual Outcome<base::Secret> make(const KeySpec& spec) = 0;
};

/// The real one.
class FreshKeys final : public KeyFactory {
  public:
    Outcome<base::Secret> make(const KeySpec& spec) override { return generate_key(spec); }
};

}  // namespace md
