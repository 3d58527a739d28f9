#include <algorithm>
#include <array>

#include "diagnose/machine/fact_fields.h"
#include "diagnose/machine/facts_json.h"
#include "diagnose/machine/scrub_text.h"
#include "diagnose/machine/system_files.h"

namespace tandem {
namespace {

void scrub(std::string& text) {
  text = scrubbed(text);
}

// "GPU-h0123cdef", of a slice also "MIG-GPU-h0123cdef/1/2"
bool is_hashed_uuid(std::string_view text) {
  for (const std::string_view begin : {"MIG-", "GPU-"}) {
    if (text.starts_with(begin)) text.remove_prefix(begin.size());
  }
  return is_short_hash(text.substr(0, 9)) && text.find_first_not_of("/0123456789", 9) == text.npos;
}

void scrub_uuid(std::string& uuid) {
  scrub(uuid);
  if (!uuid.empty() && !is_hashed_uuid(uuid)) uuid = "GPU-" + short_hash(uuid);
}

// `from` and the letters after it as `to` and those after that
std::string in_case(std::string_view text, char from, char to) {
  std::string result(text);
  for (char& c : result) c = c >= from && c < from + 26 ? static_cast<char>(c - from + to) : c;
  return result;
}

/// Whatever text a field has, one that is new too.
struct Scrub {
  void operator()(const char*, auto& value, int = 0) const { apply(value); }

 private:
  static void apply(std::string& text) { scrub(text); }
  template <class T>
    requires std::is_arithmetic_v<T>
  static void apply(T&) {}
  template <class T>
  static void apply(std::optional<T>& value) {
    if (value) apply(*value);
  }
  template <class T>
  static void apply(std::vector<T>& values) {
    for (T& value : values) apply(value);
  }
  static void apply(std::map<std::string, std::string>& values) {
    for (auto& [key, value] : values) apply(value);
  }
  template <class T>
    requires std::is_class_v<T>
  static void apply(T& facts) {
    Scrub visit;
    each_field(visit, facts);
  }
};

// "-1", "0.5", "16M"; not so long as a key may be
bool is_plain_number(std::string_view text) {
  if (text.size() > 12) return false;
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  if (!text.empty() && std::string_view("kmgt").find(text.back()) != std::string_view::npos) text.remove_suffix(1);
  return number<std::uint64_t>(text).has_value() || number<double>(text).has_value();
}

// What is neither a number nor a word that such variables have may be the name of anything.
bool is_harmless(std::string_view item) {
  constexpr std::array<std::string_view, 57> kWords = {
      "",        "(set)",    "true",       "false",         "yes",     "no",       "on",      "off",
      "all",     "none",     "void",       "auto",          "lazy",    "eager",    "default", "fastest",
      "compute", "p2p",      "shm",        "net",           "utility", "graphics", "video",   "display",
      "ngx",     "compat32", "pci_bus_id", "fastest_first", "warn",    "info",     "version", "trace",
      "abort",   "init",     "coll",       "graph",         "tuning",  "env",      "alloc",   "ring",
      "tree",    "nvls",     "collnet",    "simple",        "ll",      "ll128",    "loc",     "nvl",
      "pix",     "pxb",      "pxn",        "phb",           "node",    "sys",      "nccl",    "native",
      "cpu"};
  const std::string text = in_case(item, 'A', 'a');
  return std::find(kWords.begin(), kWords.end(), text) != kWords.end() || is_plain_number(text) || is_hashed_uuid(item);
}

std::string redacted_variable(const std::string& name, const std::string& value) {
  const std::string loud = in_case(name, 'a', 'A');
  for (const char* secret : {"KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL", "AUTH", "SERIAL"}) {
    if (loud.find(secret) != loud.npos) return "(set)";
  }
  const std::string known = without_uuids(value);
  for (const std::string_view item : split(known, ',')) {
    if (!is_harmless(item)) return "(set)";
  }
  return known;
}

// Groups may be named after people.
std::string redacted_group(const std::string& group) {
  constexpr std::array<std::string_view, 7> kCommon = {"", "root", "video", "render", "nogroup", "nobody", "users"};
  const bool common = std::find(kCommon.begin(), kCommon.end(), group) != kCommon.end() || number<unsigned>(group);
  return common ? group : "(other)";
}

void scrub_fabric(MachineSnapshot& machine) {
  for (std::string* text : {&machine.driver, &machine.no_gpus, &machine.no_nvml, &machine.profile}) scrub(*text);
  for (GpuFacts& gpu : machine.gpus) {
    scrub(gpu.name);
    scrub(gpu.pci_address);
    scrub_uuid(gpu.uuid);
  }
  for (PairFacts& pair : machine.pairs) {
    for (std::string* text : {&pair.link, &pair.p2p_status, &pair.probe.detail}) scrub(*text);
  }
  for (BackendFacts& backend : machine.backends) scrub(backend.detail);
}

}  // namespace

MachineFacts redacted(const MachineFacts& facts) {
  MachineFacts clean = facts;
  Scrub visit;
  each_field(visit, clean);
  for (GpuHealth& gpu : clean.gpus) scrub_uuid(gpu.uuid);
  clean.host.kernel = facts.host.kernel.substr(0, facts.host.kernel.find_first_not_of("0123456789."));
  for (auto& [name, value] : clean.host.environment) {
    value = redacted_variable(name, facts.host.environment.at(name));
  }
  for (DeviceNode& node : clean.host.device_nodes) node.group = redacted_group(node.group);
  scrub_fabric(clean.fabric);
  return clean;
}

}  // namespace tandem
