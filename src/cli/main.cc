#include "cli/command_line.h"

int main(int argc, char** argv) {
  return tandem::cli::main_with(argc, argv);
}
