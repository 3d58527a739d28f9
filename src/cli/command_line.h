#pragma once
// The whole program but for the name `main`.

namespace tandem::cli {

/// Parses, runs, reports. Returns the exit status; throws nothing.
int main_with(int argc, char** argv);

}  // namespace tandem::cli
