#pragma once

#include <string_view>

namespace tandem {

/// Version of the library that is linked, e.g. "0.1.0". Before 1.0 a new minor version may change the API.
std::string_view version();

/// Commit of the sources, abbreviated, with "-dirty" where they were changed; "unknown" outside a Git checkout.
std::string_view commit();

}  // namespace tandem
