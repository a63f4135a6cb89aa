#include "tls/server_context.h"

#include "tls/groups.h"
#include "tls/handshake.h"
#include "tls/policy.h"
#include "tls/ssl_session.h"
#include "tls/worker_tls.h"

namespace tls {

struct ServerContext::Impl {
    Impl(const Snapshots& snapshots, const ContextOptions& options) : worker(snapshots, options) {}
    WorkerTls worker;
};

ServerContext::ServerContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ServerContext::~ServerContext() = default;

base::Result<std::unique_ptr<ServerContext>> ServerContext::create(const ContextOptions& options,
                                                                   const Snapshots& snapshots) {
    ERR_clear_error();
    auto impl = std::make_unique<Impl>(snapshots, options);
    WorkerTls& worker = impl->worker;
    if (!worker.library) return openssl_error("OpenSSL's default provider cannot be loaded");
    worker.ticket_cipher.reset(EVP_CIPHER_fetch(worker.library.get(), "AES-256-CBC", nullptr));
    worker.ssl_ctx.reset(SSL_CTX_new_ex(worker.library.get(), nullptr, TLS_server_method()));
    if (!worker.ticket_cipher || !worker.ssl_ctx) {
        return openssl_error("OpenSSL cannot make a TLS context");
    }
    const std::vector<std::string>& groups =
        options.groups.empty() ? default_groups() : options.groups;
    if (!apply_policy(worker.ssl_ctx.get(), options.policy, groups)) {
        return openssl_error("OpenSSL refuses the TLS policy");
    }
    install_callbacks(worker.ssl_ctx.get());
    return std::unique_ptr<ServerContext>(new ServerContext(std::move(impl)));
}

std::unique_ptr<Session> ServerContext::accept(const LocalAddress& local) {
    return SslSession::create(impl_->worker, local);
}

const TlsCounters& ServerContext::counters() const {
    return impl_->worker.counters;
}

}  // namespace tls
