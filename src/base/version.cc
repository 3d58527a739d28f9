#include "tandem/version.h"

#include <commit.inc>

namespace tandem {

std::string_view version() {
  return TANDEM_VERSION;
}

std::string_view commit() {
  return TANDEM_COMMIT;
}

}  // namespace tandem
