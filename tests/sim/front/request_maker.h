// Makes requests that are acceptable, of every kind: what the client sends, and what has to become
// of it.
#pragma once

#include "scene.h"

namespace sim::front {

/// Of the connection that a request is made for.
struct ClientFacts {
    uint32_t number = 0;
    bool is_tls = false;
    bool is_slow = false;
    std::string address;
    int site = 0;      // whose host is asked for, mostly
    std::string name;  // SNI
};

struct Draft {
    Request* request;
    std::string head;
    bool closes;  // says that it is the last
};

Draft make_request(Scene& scene, Dice& dice, const ClientFacts& client, bool is_last);

}  // namespace sim::front
