#pragma once
// What every benchmark records.

#include <string>
#include <vector>

namespace tandem {

/// A quantity measured several times.
struct Samples {
  std::vector<double> values;
  double median() const;
  double smallest() const;
  double spread() const;  ///< (largest - smallest) / median
};

/// The machine of a record: its processor and how many, and its GPUs.
std::string machine_name();

}  // namespace tandem
