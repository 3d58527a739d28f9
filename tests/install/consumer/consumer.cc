#include <iostream>

#include "tandem/error.h"
#include "tandem/version.h"

int main() {
  std::cout << "tandem " << tandem::version() << "\n";
  const tandem::Error error(tandem::ErrorKind::kNotFound, "no such model");
  return to_string(error.kind()) == "not-found" ? 0 : 1;
}
