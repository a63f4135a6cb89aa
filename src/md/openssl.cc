#include "md/openssl.h"

#include <openssl/pem.h>

#include <climits>

namespace md {

BioPtr bio_of(std::string_view text) {
    if (text.size() > INT_MAX) return nullptr;
    return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string contents(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<size_t>(size)};
}

int no_pass_phrase(char*, int, int, void*) {
    return -1;
}

EvpKeyPtr read_key_pem(std::string_view pem) {
    const BioPtr bio = bio_of(pem);
    if (!bio) return nullptr;
    return EvpKeyPtr(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_pass_phrase, nullptr));
}

std::optional<base::Secret> key_pem(const EVP_PKEY* key) {
    const BioPtr bio(BIO_new(BIO_s_secmem()));
    if (!bio ||
        PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
        return std::nullopt;
    }
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return base::Secret(std::string_view(data, static_cast<size_t>(size)));
}

}  // namespace md
