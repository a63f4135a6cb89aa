// From documents to a Configuration, by the schema.
#pragma once

#include "app/config/configuration.h"
#include "app/config/document.h"
#include "app/config/mistakes.h"

namespace app {

/// Reads every key; what cannot be read keeps its default and is a mistake.
Configuration read_configuration(const Node& document, const std::string& path, Mistakes& mistakes);

}  // namespace app
