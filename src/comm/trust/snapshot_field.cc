#include "comm/trust/snapshot_field.h"

#include <algorithm>

#include "base/error.h"
#include "base/quote.h"
#include "comm/communicator.h"

namespace tandem {
namespace {

constexpr std::size_t kMaxText = 4096;

}  // namespace

std::string one_line(const std::string& text) {
  std::string line = printable(text).substr(0, kMaxText);
  for (char& c : line) {
    if (c == '\n' || c == '\t') c = ' ';
  }
  return printable(line);  // where the cut went through a character
}

void SnapshotField::refuse(std::string_view expected) const {
  fail_with_hint(ErrorKind::kBadFile, format("{}: {}: expected {}, not {}", origin_, name_, expected, shown()),
                 "record it anew with tandem check --snapshot FILE; docs/reference/machine-snapshot.md tells what it "
                 "must hold");
}

void SnapshotField::refuse_twice() const {
  fail(ErrorKind::kBadFile, "{}: {} is there twice", origin_, name_);
}

std::string SnapshotField::inside(std::string_view key) const {
  return name_ == kTop ? std::string(key) : format("{}.{}", name_, key);
}

bool SnapshotField::has(const char* key) const {
  return json_.is_object() && json_.contains(key);
}

SnapshotField SnapshotField::at(const char* key) const {
  if (!json_.is_object()) refuse("an object");
  const auto found = json_.find(key);
  if (found == json_.end()) fail(ErrorKind::kBadFile, "{}: there is no {}", origin_, inside(key));
  return {*found, origin_, inside(key)};
}

std::vector<SnapshotField> SnapshotField::elements(std::size_t most) const {
  if (!json_.is_array()) refuse("an array");
  if (json_.size() > most) {
    fail(ErrorKind::kBadFile, "{}: {}: {} elements, {} at most", origin_, name_, json_.size(), most);
  }
  std::vector<SnapshotField> fields;
  for (std::size_t i = 0; i < json_.size(); ++i) {
    fields.push_back(SnapshotField(json_[i], origin_, format("{}[{}]", name_, i)));
  }
  return fields;
}

std::vector<std::pair<std::string, SnapshotField>> SnapshotField::members(std::size_t most) const {
  if (!json_.is_object()) refuse("an object");
  if (json_.size() > most) {
    fail(ErrorKind::kBadFile, "{}: {}: {} members, {} at most", origin_, name_, json_.size(), most);
  }
  std::vector<std::pair<std::string, SnapshotField>> fields;
  for (const auto& [key, value] : json_.items()) {
    const SnapshotField field(value, origin_, inside(quote(key)));
    if (key != one_line(key)) field.refuse("a name of one line without control characters");
    fields.emplace_back(key, field);
  }
  return fields;
}

std::string SnapshotField::text() const {
  if (!json_.is_string()) refuse("a text");
  const auto& text = json_.get_ref<const std::string&>();
  if (text.size() > kMaxText || text != one_line(text)) {
    refuse(format("one line without control characters, of {} bytes at most", kMaxText));
  }
  return text;
}

bool SnapshotField::boolean() const {
  if (!json_.is_boolean()) refuse("true or false");
  return json_.get<bool>();
}

// Nothing that is measured here comes near the bound; beyond it sums and products would overflow.
double SnapshotField::number() const {
  if (!json_.is_number() || json_.get<double>() < 0 || json_.get<double>() > 1e18) refuse("a number of 0 to 1e18");
  return json_.get<double>();
}

std::string SnapshotField::backend() const {
  const std::vector<std::string>& known = backend_names();
  if (!json_.is_string() || std::find(known.begin(), known.end(), json_.get<std::string>()) == known.end()) {
    refuse("p2p, nccl, native or cpu");
  }
  return json_.get<std::string>();
}

std::pair<int, int> SnapshotField::compute_capability() const {
  const std::string version = text();
  const std::size_t dot = version.find('.');
  const auto part = [&](const std::string& digits) {
    if (digits.empty() || digits.size() > 3 || digits.find_first_not_of("0123456789") != digits.npos) {
      refuse("a compute capability such as \"9.0\"");
    }
    return std::stoi(digits);
  };
  if (dot == version.npos) refuse("a compute capability such as \"9.0\"");
  return {part(version.substr(0, dot)), part(version.substr(dot + 1))};
}

std::string SnapshotField::shown() const {
  if (json_.is_structured()) return json_.is_array() ? "an array" : "an object";
  return json_.is_string() ? quote(json_.get_ref<const std::string&>()) : json_ascii(json_);
}

}  // namespace tandem
