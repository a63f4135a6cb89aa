#include "proxy/head.h"

namespace proxy {

const Field* Head::find(FieldId id) const {
    for (const Field& field : fields()) {
        if (field.id == id) return &field;
    }
    return nullptr;
}

}  // namespace proxy
