#include "tls/ring_bio.h"

#include <cstring>

namespace tls {

BIO_METHOD* RingBio::method() {
    // One for the process; it lives until exit.
    static BIO_METHOD* const shared = [] {
        BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "mdfront ring");
        base::check(m != nullptr);
        BIO_meth_set_read_ex(m, &RingBio::read);
        BIO_meth_set_write_ex(m, &RingBio::write);
        BIO_meth_set_ctrl(m, &RingBio::control);
        return m;
    }();
    return shared;
}

BIO* RingBio::make_bio() {
    BIO* bio = BIO_new(method());
    if (bio == nullptr) return nullptr;
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    return bio;
}

void RingBio::feed(std::span<const uint8_t> ciphertext) {
    if (input_.empty()) {
        input_ = ciphertext;
        return;
    }
    // What is unread may stand in kept_ itself.
    std::vector<uint8_t> both;
    both.reserve(input_.size() + ciphertext.size());
    both.insert(both.end(), input_.begin(), input_.end());
    both.insert(both.end(), ciphertext.begin(), ciphertext.end());
    kept_.swap(both);
    input_ = kept_;
}

void RingBio::keep_input() {
    if (input_.empty()) return;
    // The source may be kept_ itself: a second call after a first one.
    std::vector<uint8_t> copy(input_.begin(), input_.end());
    kept_.swap(copy);
    input_ = kept_;
}

void RingBio::drop_input() {
    input_ = {};
    std::vector<uint8_t>().swap(kept_);
}

bool RingBio::open_output(std::span<uint8_t> output) {
    output_ = output;
    produced_ = 0;
    wants_output_ = false;
    return drain_spill();
}

bool RingBio::drain_spill() {
    if (spill_.empty()) return true;
    const size_t size = std::min(spill_.size(), output_.size());
    std::memcpy(output_.data(), spill_.data(), size);
    produced_ += size;
    spill_.erase(spill_.begin(), spill_.begin() + static_cast<ptrdiff_t>(size));
    if (!spill_.empty()) return false;
    std::vector<uint8_t>().swap(spill_);
    return true;
}

size_t RingBio::close_output() {
    output_ = {};
    return std::exchange(produced_, 0);
}

int RingBio::read(BIO* bio, char* out, size_t size, size_t* done) {
    RingBio& self = from(bio);
    BIO_clear_retry_flags(bio);
    *done = 0;
    if (self.refused_) return 0;
    // While bytes wait in the spill nothing new is started: what OpenSSL writes next could not be
    // taken.
    if (self.input_.empty() || !self.spill_.empty() || self.in_flight_) {
        BIO_set_retry_read(bio);
        return 0;
    }
    *done = std::min(size, self.input_.size());
    std::memcpy(out, self.input_.data(), *done);
    self.input_ = self.input_.subspan(*done);
    if (self.input_.empty() && !self.kept_.empty()) std::vector<uint8_t>().swap(self.kept_);
    return 1;
}

int RingBio::write(BIO* bio, const char* data, size_t size, size_t* done) {
    RingBio& self = from(bio);
    BIO_clear_retry_flags(bio);
    const size_t room = self.output_.size() - self.produced_;
    *done = std::min(size, room);
    if (*done > 0) {
        std::memcpy(self.output_.data() + self.produced_, data, *done);
        self.produced_ += *done;
    } else if (self.spill_.size() + size <= (self.in_flight_ ? flight_max : spill_max)) {
        self.spill_.insert(self.spill_.end(), data, data + size);
        *done = size;
    } else {
        self.wants_output_ = true;
        BIO_set_retry_write(bio);
        return 0;
    }
    return 1;
}

long RingBio::control(BIO* bio, int command, long number, void* pointer) {
    (void)bio;
    (void)number;
    (void)pointer;
    switch (command) {
        case BIO_CTRL_FLUSH:
        case BIO_CTRL_PUSH:
        case BIO_CTRL_POP:
            return 1;
        default:
            return 0;
    }
}

}  // namespace tls
