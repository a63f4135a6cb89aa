#include "base/result.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace base {

std::string Error::message() const {
    switch (domain) {
        case ErrorDomain::System: {
            char buffer[128];
            return fmt::format("{}: {} ({})", text, strerror_r(code, buffer, sizeof buffer), code);
        }
        case ErrorDomain::Http:
        case ErrorDomain::Tls:
            return code ? fmt::format("{} ({})", text, code) : std::string(text);
        case ErrorDomain::None:
        case ErrorDomain::Net:
        case ErrorDomain::Input:
            break;
    }
    return text;
}

Error system_error(int errno_value, const char* text) {
    return {ErrorDomain::System, errno_value < 0 ? -errno_value : errno_value, text};
}

void check_failed(const std::source_location& where) {
    std::fprintf(stderr, "mdfront: internal check failed at %s:%u (%s); please report this\n",
                 where.file_name(), static_cast<unsigned>(where.line()), where.function_name());
    std::abort();
}

}  // namespace base
