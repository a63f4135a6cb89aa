// Why a handshake did not come to its end: few reasons, so that they can be counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tls {

enum class Failure : uint8_t {
    None,              ///< it did, or is still under way
    NotTls,            ///< no TLS record came: HTTP, a scan
    NoSharedVersion,   ///< or a fallback to an older one than both sides can
    NoSharedCipher,    ///< nor group, nor signature algorithm
    UnknownName,       ///< no certificate for it, or no challenge
    NoProtocol,        ///< ALPN offers none that we speak
    ProtocolError,     ///< malformed, forged, out of order, beyond a limit
    ClientAlert,       ///< the client refused, mostly our certificate
    GivenUp,           ///< the client left in the middle
    TimedOut,          ///< its time was up: see Session::give_up()
    Overload,          ///< too many wait for slow keys, or memory is out: see there
    CertificateFault,  ///< ours cannot be decoded or used
};
constexpr size_t failures = static_cast<size_t>(Failure::CertificateFault) + 1;

/// For metrics and the log: "no_shared_cipher".
constexpr std::string_view label(Failure failure) {
    switch (failure) {
        case Failure::None:
            return "none";
        case Failure::NotTls:
            return "not_tls";
        case Failure::NoSharedVersion:
            return "no_shared_version";
        case Failure::NoSharedCipher:
            return "no_shared_cipher";
        case Failure::UnknownName:
            return "unknown_name";
        case Failure::NoProtocol:
            return "no_protocol";
        case Failure::ProtocolError:
            return "protocol_error";
        case Failure::ClientAlert:
            return "client_alert";
        case Failure::GivenUp:
            return "given_up";
        case Failure::TimedOut:
            return "timed_out";
        case Failure::Overload:
            return "overload";
        case Failure::CertificateFault:
            return "certificate_fault";
    }
    return "none";
}

}  // namespace tls
