#include "diagnose/machine/facts_json.h"

#include <concepts>
#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "comm/trust/snapshot_field.h"
#include "comm/trust/snapshot_json.h"
#include "diagnose/machine/fact_fields.h"
#include "diagnose/machine/system_files.h"

namespace tandem {
namespace {

constexpr int kVersion = 2;
constexpr std::size_t kMaxFile = 64 << 20;

class Writer {
 public:
  explicit Writer(Json& json) : json_(json) {}

  template <class T>
  void operator()(const char* name, const T& value, int = 0) {
    write(json_[name], value);
  }

 private:
  static void write(Json& json, const std::string& value) { json = one_line(value); }
  template <class T>
    requires std::is_arithmetic_v<T>
  static void write(Json& json, T value) {
    json = value;
  }
  template <class T>
  static void write(Json& json, const std::optional<T>& value) {
    json = nullptr;
    if (value) write(json, *value);
  }
  template <class T>
  static void write(Json& json, const std::vector<T>& values) {
    json = Json::array();
    for (const T& value : values) write(json.emplace_back(), value);
  }
  static void write(Json& json, const std::map<std::string, std::string>& values) {
    json = Json::object();
    for (const auto& [key, value] : values) write(json[one_line(key)], value);
  }
  template <class T>
    requires std::is_class_v<T>
  static void write(Json& json, const T& value) {
    Writer writer(json);
    each_field(writer, value);
  }
  Json& json_;
};

class Reader {
 public:
  explicit Reader(const SnapshotField& field) : field_(field) {}

  template <class T>
  void operator()(const char* name, T& value, int least = 0) {
    read(field_.at(name), value, least);
  }

 private:
  static void read(const SnapshotField& field, std::string& value, int) { value = field.text(); }
  static void read(const SnapshotField& field, bool& value, int) { value = field.boolean(); }
  static void read(const SnapshotField& field, double& value, int) { value = field.number(); }
  template <std::integral T>
  static void read(const SnapshotField& field, T& value, int least) {
    value = field.integer<T>(static_cast<T>(least), std::numeric_limits<T>::max());
  }
  template <class T>
  static void read(const SnapshotField& field, std::optional<T>& value, int least) {
    if (!field.is_null()) read(field, value.emplace(), least);
  }
  template <class T>
  static void read(const SnapshotField& field, std::vector<T>& values, int) {
    for (const SnapshotField& element : field.elements(kMaxListedFacts)) read(element, values.emplace_back(), 0);
  }
  static void read(const SnapshotField& field, std::map<std::string, std::string>& values, int) {
    for (const auto& [key, member] : field.members(kMaxListedFacts)) values[key] = member.text();
  }
  template <class T>
    requires std::is_class_v<T>
  static void read(const SnapshotField& field, T& value, int) {
    Reader reader(field);
    each_field(reader, value);
  }
  const SnapshotField& field_;
};

}  // namespace

std::string machine_facts_json(const MachineFacts& facts) {
  Json json = parse_json(snapshot_json(facts.fabric), "snapshot");
  json["version"] = kVersion;
  Writer writer(json);
  each_field(writer, facts);
  return json_text(json, 1) + "\n";
}

MachineFacts parse_machine_facts(std::string_view text, std::string_view origin) {
  if (text.size() > kMaxFile) fail(ErrorKind::kBadFile, "{}: {} bytes, {} at most", origin, text.size(), kMaxFile);
  MachineFacts facts{.fabric = parse_snapshot(text, origin)};
  const Json json = parse_json(text, origin);
  if (json["version"] != kVersion) {
    facts.unread = {{.source = "the machine", .reason = "a snapshot of version 1 has no facts of it"}};
    return facts;
  }
  const SnapshotField top(json, origin);
  Reader reader(top);
  each_field(reader, facts);
  return facts;
}

MachineFacts read_machine_facts(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_machine_facts({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, path.string());
}

}  // namespace tandem
