#include "tls/client.h"

#include <openssl/err.h>

#include "catch.h"

namespace test {

namespace {
int client_index() {
    static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
}
}  // namespace

Client::Client(const Options& options) : context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_verify(context_, SSL_VERIFY_NONE, nullptr);
    SSL_CTX_set_session_cache_mode(context_,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(context_, on_session);
    if (!options.accept_renegotiation) SSL_CTX_set_options(context_, SSL_OP_NO_RENEGOTIATION);
    ssl_ = SSL_new(context_);
    SSL_set_ex_data(ssl_, client_index(), this);
    SSL_set_info_callback(ssl_, on_info);
    SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    BIO_set_mem_eof_return(SSL_get_rbio(ssl_), -1);
    SSL_set_connect_state(ssl_);
    if (options.version != 0) {
        SSL_set_min_proto_version(ssl_, options.version);
        SSL_set_max_proto_version(ssl_, options.version);
    }
    if (!options.server_name.empty()) {
        REQUIRE(SSL_set_tlsext_host_name(ssl_, options.server_name.c_str()) == 1);
    }
    if (!options.alpn.empty()) {
        Bytes list;
        for (const std::string& name : options.alpn) {
            list.push_back(static_cast<uint8_t>(name.size()));
            list.insert(list.end(), name.begin(), name.end());
        }
        REQUIRE(SSL_set_alpn_protos(ssl_, list.data(), static_cast<unsigned>(list.size())) == 0);
    }
    if (!options.signature_algorithms.empty()) {
        REQUIRE(SSL_set1_sigalgs_list(ssl_, options.signature_algorithms.c_str()) == 1);
    }
    if (!options.ciphers.empty()) REQUIRE(SSL_set_cipher_list(ssl_, options.ciphers.c_str()));
    if (!options.suites.empty()) REQUIRE(SSL_set_ciphersuites(ssl_, options.suites.c_str()));
    if (!options.groups.empty()) REQUIRE(SSL_set1_groups_list(ssl_, options.groups.c_str()));
    if (options.status_request) SSL_set_tlsext_status_type(ssl_, TLSEXT_STATUSTYPE_ocsp);
    if (options.session != nullptr) REQUIRE(SSL_set_session(ssl_, options.session) == 1);
    if (options.tweak) options.tweak(ssl_);
}

Client::~Client() {
    // OpenSSL calls a session that did not end well not resumable.
    SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl_);
    SSL_CTX_free(context_);
}

int Client::on_session(SSL* ssl, SSL_SESSION* session) {
    auto* self = static_cast<Client*>(SSL_get_ex_data(ssl, client_index()));
    ++self->tickets_;
    self->session_ = std::shared_ptr<SSL_SESSION>(session, SSL_SESSION_free);
    return 1;
}

void Client::on_info(const SSL* ssl, int where, int value) {
    auto* self = static_cast<Client*>(SSL_get_ex_data(ssl, client_index()));
    if (where != SSL_CB_READ_ALERT) return;
    // OpenSSL 3.0 has no text for number 86 (RFC 7507).
    self->alert_ = (value & 0xff) == SSL_AD_INAPPROPRIATE_FALLBACK
                       ? "inappropriate fallback"
                       : SSL_alert_desc_string_long(value);
}

Bytes Client::take_output() {
    char* data = nullptr;
    BIO* bio = SSL_get_wbio(ssl_);
    const long size = BIO_get_mem_data(bio, &data);
    Bytes bytes(data, data + size);
    (void)BIO_reset(bio);
    return bytes;
}

void Client::put_input(const Bytes& bytes) {
    if (bytes.empty()) return;
    BIO_write(SSL_get_rbio(ssl_), bytes.data(), static_cast<int>(bytes.size()));
}

bool Client::handshake() {
    if (done_) return true;
    ERR_clear_error();
    done_ = SSL_do_handshake(ssl_) == 1;
    ERR_clear_error();
    return done_;
}

bool Client::write(std::string_view text) {
    ERR_clear_error();
    size_t size = 0;
    return SSL_write_ex(ssl_, text.data(), text.size(), &size) == 1;
}

std::string Client::read() {
    std::string all;
    char buffer[20000];
    size_t size = 0;
    ERR_clear_error();
    while (SSL_read_ex(ssl_, buffer, sizeof buffer, &size) == 1) all.append(buffer, size);
    ERR_clear_error();
    return all;
}

std::string Client::peer_common_name() const {
    X509* x509 = SSL_get0_peer_certificate(ssl_);
    if (x509 == nullptr) return {};
    char name[256];
    X509_NAME_get_text_by_NID(X509_get_subject_name(x509), NID_commonName, name, sizeof name);
    return name;
}

Bytes Client::peer_der() const {
    X509* x509 = SSL_get0_peer_certificate(ssl_);
    if (x509 == nullptr) return {};
    Bytes bytes(static_cast<size_t>(i2d_X509(x509, nullptr)));
    uint8_t* at = bytes.data();
    i2d_X509(x509, &at);
    return bytes;
}

std::string Client::alpn() const {
    const unsigned char* data = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_, &data, &size);
    return size ? std::string(reinterpret_cast<const char*>(data), size) : std::string();
}

void Server::drive() {
    using State = tls::Session::State;
    Bytes plaintext(16 * 1024);
    Bytes room(output_room);
    for (;;) {
        size_t produced = 0;
        const tls::Session::Read result = session_->read(plaintext, room, produced);
        REQUIRE(produced <= room.size());
        output.insert(output.end(), room.begin(), room.begin() + static_cast<ptrdiff_t>(produced));
        received.append(reinterpret_cast<char*>(plaintext.data()), result.size);
        state = result.state;
        if (state == State::NeedOutput) {
            ++need_output_seen;
            REQUIRE(produced > 0);  // or the owner would turn in circles
        }
        if (state != State::Ok && state != State::NeedOutput) return;
    }
}

void Server::put(const Bytes& bytes) {
    using State = tls::Session::State;
    size_t at = 0;
    if (bytes.empty()) drive();
    while (at < bytes.size() && state != State::Failed && state != State::Closed) {
        const size_t size = std::min(input_step, bytes.size() - at);
        // A copy of the right size, so that sanitizers see each byte read beyond it.
        const Bytes piece(bytes.begin() + static_cast<ptrdiff_t>(at),
                          bytes.begin() + static_cast<ptrdiff_t>(at + size));
        session_->feed(piece);
        drive();
        INFO("state " << int(state) << " error " << session_->error());
        REQUIRE_FALSE(session_->has_input());
        at += size;
    }
}

bool Server::write(std::string_view text) {
    Bytes room(text.size() + tls::Session::overhead_max);
    const size_t size =
        session_->write({reinterpret_cast<const uint8_t*>(text.data()), text.size()}, room);
    output.insert(output.end(), room.begin(), room.begin() + static_cast<ptrdiff_t>(size));
    return size > 0;
}

void pump(Client& client, Server& server) {
    for (;;) {
        const Bytes to_server = client.take_output();
        if (!to_server.empty()) server.put(to_server);
        const Bytes to_client = server.take_output();
        client.put_input(to_client);
        if (to_server.empty() && to_client.empty()) return;
        if (!client.done()) client.handshake();
    }
}

bool connect(Client& client, Server& server) {
    client.handshake();
    pump(client, server);
    return client.done() && server.session().handshake_done();
}

World::World(tls::Policy policy, tls::HandshakePool* pool) {
    auto made = tls::ServerContext::create(
        {.policy = policy, .groups = {}, .handshake_pool = pool, .clock = &clock}, snapshots);
    REQUIRE(made.ok());
    context = std::move(*made);
}

void World::set(const std::vector<std::string>& names,
                std::vector<std::shared_ptr<const tls::Certificate>> certificates,
                std::vector<std::shared_ptr<const tls::Staple>> staples) {
    auto made = std::make_shared<tls::CertificateSet>();
    made->certificates = std::move(certificates);
    made->staples = std::move(staples);
    snapshots.certificates.update([&](const tls::CertificateIndex& index) {
        return index.with(names, made->certificates.empty() ? nullptr : made);
    });
}

void World::set_default(std::vector<std::shared_ptr<const tls::Certificate>> certificates) {
    auto made = std::make_shared<tls::CertificateSet>();
    made->certificates = std::move(certificates);
    snapshots.certificates.update(
        [&](const tls::CertificateIndex& index) { return index.with_default(made); });
}

void World::rotate_tickets() {
    base::SystemRandom random;
    snapshots.ticket_keys.update(
        [&](const tls::TicketKeys& keys) { return keys.rotated(random, base::Time{}); });
}

Server World::accept_at(const char* address) {
    local_address = address;
    const auto ask = [](const void* world) noexcept {
        auto& self = *static_cast<World*>(const_cast<void*>(world));
        ++self.times_asked;
        return base::IpAddress::parse(self.local_address);
    };
    return Server(context->accept({this, ask}));
}

}  // namespace test
