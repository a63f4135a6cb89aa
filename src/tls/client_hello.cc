#include "tls/client_hello.h"

namespace tls {

namespace {

/// The extension's body; empty if it is absent.
std::span<const uint8_t> extension(SSL* ssl, unsigned type) {
    const unsigned char* data = nullptr;
    size_t size = 0;
    if (SSL_client_hello_get0_ext(ssl, type, &data, &size) != 1) return {};
    return {data, size};
}

/// Takes a vector with a length of `length_bytes` off the front of `data`; false if it is cut off.
bool take_vector(std::span<const uint8_t>& data, size_t length_bytes,
                 std::span<const uint8_t>& out) {
    if (data.size() < length_bytes) return false;
    size_t length = 0;
    for (size_t i = 0; i < length_bytes; ++i) length = length << 8 | data[i];
    data = data.subspan(length_bytes);
    if (data.size() < length) return false;
    out = data.first(length);
    data = data.subspan(length);
    return true;
}

std::string_view text(std::span<const uint8_t> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Calls `take` with each 16-bit number of a list; an odd byte at the end is ignored.
template <typename Take>
void each_number(std::span<const uint8_t> list, Take&& take) {
    for (size_t i = 0; i + 1 < list.size(); i += 2) {
        take(static_cast<unsigned>(list[i]) << 8 | list[i + 1]);
    }
}

}  // namespace

ClientHello::ClientHello(SSL* ssl) {
    // RFC 6066 3: a list with exactly one entry of type host_name.
    std::span<const uint8_t> list;
    std::span<const uint8_t> name;
    const unsigned char* data = nullptr;
    size_t size = 0;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &size) == 1) {
        std::span<const uint8_t> rest(data, size);
        if (take_vector(rest, 2, list) && rest.empty() && !list.empty() &&
            list[0] == TLSEXT_NAMETYPE_host_name) {
            list = list.subspan(1);
            has_server_name = take_vector(list, 2, name) && list.empty();
        }
        has_malformed_server_name = !has_server_name;
        if (has_server_name) server_name = text(name);
    }
    // RFC 7301 3.1: a list of names with a length byte each.
    std::span<const uint8_t> body =
        extension(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation);
    size_t protocols = 0;
    if (take_vector(body, 2, list)) {
        while (take_vector(list, 1, name)) {
            ++protocols;
            offers_acme |= text(name) == "acme-tls/1";
        }
    }
    offers_only_acme = offers_acme && protocols == 1;
}

ClientAbilities::ClientAbilities(SSL* ssl) {
    add_signature_algorithms(extension(ssl, TLSEXT_TYPE_signature_algorithms));
    add_groups(extension(ssl, TLSEXT_TYPE_supported_groups));
    const unsigned char* suites = nullptr;
    const size_t size = SSL_client_hello_get0_ciphers(ssl, &suites);
    add_suites({suites, size});
}

void ClientAbilities::add_signature_algorithms(std::span<const uint8_t> extension_body) {
    std::span<const uint8_t> list;
    if (!take_vector(extension_body, 2, list)) return;
    each_number(list, [this](unsigned scheme) {
        switch (scheme) {  // RFC 8446 4.2.3
            case 0x0403:
                bits_ |= EcdsaSha256;
                break;
            case 0x0503:
                bits_ |= EcdsaSha384;
                break;
            case 0x0603:
                bits_ |= EcdsaSha512;
                break;
            case 0x0401:
            case 0x0501:
            case 0x0601:
                bits_ |= RsaPkcs1;
                break;
            case 0x0804:
            case 0x0805:
            case 0x0806:
                bits_ |= RsaPss;
                break;
            case 0x0807:
                bits_ |= Ed25519;
                break;
            case 0x0808:
                bits_ |= Ed448;
                break;
            default:
                break;
        }
    });
}

void ClientAbilities::add_groups(std::span<const uint8_t> extension_body) {
    std::span<const uint8_t> list;
    if (!take_vector(extension_body, 2, list)) {
        // RFC 8422 4: a client that does not say can do all.
        bits_ |= GroupP256 | GroupP384 | GroupP521;
        return;
    }
    each_number(list, [this](unsigned group) {
        switch (group) {  // RFC 8446 4.2.7
            case 0x0017:
                bits_ |= GroupP256;
                break;
            case 0x0018:
                bits_ |= GroupP384;
                break;
            case 0x0019:
                bits_ |= GroupP521;
                break;
            default:
                break;
        }
    });
}

void ClientAbilities::add_suites(std::span<const uint8_t> suites) {
    each_number(suites, [this](unsigned suite) {
        switch (suite) {  // the six of policy.cc
            case 0xc02b:
            case 0xc02c:
            case 0xcca9:
                bits_ |= SuiteEcdsa;
                break;
            case 0xc02f:
            case 0xc030:
            case 0xcca8:
                bits_ |= SuiteRsa;
                break;
            default:
                break;
        }
    });
}

bool ClientAbilities::can_verify(const Certificate& certificate, Version version) const {
    const bool is_tls12 = version == Version::Tls12;
    if (certificate.key_type == KeyType::Rsa) {
        return is_tls12 ? has(SuiteRsa) && has(RsaPss | RsaPkcs1) : has(RsaPss);
    }
    if (is_tls12 && !has(SuiteEcdsa)) return false;
    if (certificate.key_type == KeyType::Ed25519) return has(Ed25519);
    if (certificate.key_type == KeyType::Ed448) return has(Ed448);

    unsigned scheme = EcdsaSha256;
    unsigned group = GroupP256;
    if (certificate.curve == "secp384r1") {
        scheme = EcdsaSha384;
        group = GroupP384;
    } else if (certificate.curve == "secp521r1") {
        scheme = EcdsaSha512;
        group = GroupP521;
    }
    // In TLS 1.3 the scheme names the curve; in 1.2 the curve stands among the groups (RFC 8422
    // 5.3) and any of the hashes will do.
    return is_tls12 ? has(EcdsaSha256 | EcdsaSha384 | EcdsaSha512) && has(group) : has(scheme);
}

}  // namespace tls
