#pragma once

#include <string_view>

namespace tandem {

/// Version of the library that is linked, e.g. "0.1.0". Before 1.0 a new minor version may change the API.
std::string_view version();

}  // namespace tandem
