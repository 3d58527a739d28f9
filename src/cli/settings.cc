#include "cli/settings.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/suggest.h"

namespace tandem::cli {
namespace {

constexpr SettingRow kTable[] = {
    {"tp", SettingType::kInteger, "", "TANDEM_TP", "",
     "number of ranks, 1 to 16; 0: one a device in --devices, else 1"},
    {"tp_backend", SettingType::kString, "auto", "TANDEM_TP_BACKEND", "", "auto, cpu, p2p, nccl or native"},
    {"devices", SettingType::kString, "", "TANDEM_DEVICES", "",
     "one a rank, separated by commas: cpu, cpu:N, a GPU's number, UUID or PCI address"},
    {"threads", SettingType::kInteger, "", "TANDEM_THREADS", "", "threads of all CPU ranks together; 0: one a core"},
    {"max_seq_len", SettingType::kInteger, "", "TANDEM_MAX_SEQ_LEN", "",
     "tokens of prompt and answer; 0: the model's limit, at most 4096"},
    {"timeout", SettingType::kNumber, "10", "TANDEM_TIMEOUT", "",
     "seconds that a rank waits for another before it gives up"},
    {"p2p_buffer_size", SettingType::kBytes, "", "TANDEM_P2P_BUFFER_SIZE", "EXLLAMA_P2P_BUFFER_SIZE",
     "bytes of a rank's inbox in p2p and native (suffix K, M or G), taken on its GPU or host; 0: chosen"},
    {"profile_dir", SettingType::kString, "", "TANDEM_PROFILE_DIR", "",
     "folder of the profiles that tandem tune makes; else tandem/profiles in the user's cache; off: none are used"},
    {"nccl_library", SettingType::kString, "", "TANDEM_NCCL_LIBRARY", "",
     "file of NCCL; else the loader's path, CUDA's folder and Python's packages are looked through"},
    {"p2p_verbose", SettingType::kBool, "0", "TANDEM_P2P_VERBOSE", "EXLLAMA_P2P_VERBOSE",
     "1: log every collective call"},
    {"master_addr", SettingType::kString, "127.0.0.1", "TANDEM_MASTER_ADDR", "EXLLAMA_MASTER_ADDR",
     "where ranks in separate processes will meet; ranks are threads today"},
    {"master_port", SettingType::kInteger, "", "TANDEM_MASTER_PORT", "EXLLAMA_MASTER_PORT", "its port; 0: a free one"},
    {"log_level", SettingType::kString, "warn", "TANDEM_LOG_LEVEL", "",
     "trace, debug, info, warn, error or off; or per subsystem: comm=debug,model=info"},
    {"trace", SettingType::kString, "", "TANDEM_TRACE", "",
     "write what the ranks did when to this file, for ui.perfetto.dev (run and bench)"},
};

// What each type accepts, for messages.
std::string_view expected(SettingType type) {
  switch (type) {
    case SettingType::kString:
      return "text";
    case SettingType::kInteger:
      return "an integer, 0 or more";
    case SettingType::kNumber:
      return "a number above 0";
    case SettingType::kBool:
      return "0 or 1";
    case SettingType::kBytes:
      return "a number of bytes, with K, M or G for 2^10, 2^20, 2^30";
  }
  return "";
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value) || value <= 0)
    return std::nullopt;
  return value;
}

std::optional<bool> parse_bool(std::string_view text) {
  if (text == "1" || text == "true" || text == "yes" || text == "on") return true;
  if (text == "0" || text == "false" || text == "no" || text == "off") return false;
  return std::nullopt;
}

bool is_valid(SettingType type, std::string_view text) {
  switch (type) {
    case SettingType::kString:
      return true;
    case SettingType::kInteger:
      return parse_integer(text).has_value();
    case SettingType::kNumber:
      return parse_number(text).has_value();
    case SettingType::kBool:
      return parse_bool(text).has_value();
    case SettingType::kBytes:
      return parse_bytes(text).has_value();
  }
  return false;
}

const SettingRow* find_row(std::string_view name) {
  const auto row =
      std::find_if(std::begin(kTable), std::end(kTable), [&](const SettingRow& r) { return r.name == name; });
  return row == std::end(kTable) ? nullptr : row;
}

std::optional<LogLevel> parse_level(std::string_view text) {
  constexpr std::string_view kNames[] = {"trace", "debug", "info", "warn", "error", "off"};
  const auto name = std::find(std::begin(kNames), std::end(kNames), text);
  if (name == std::end(kNames)) return std::nullopt;
  return static_cast<LogLevel>(name - std::begin(kNames));
}

// For messages: "comm, model, cli".
std::string subsystem_names() {
  std::string names;
  for (int i = 0; i < kNumSubsystems; ++i) {
    names.append(i == 0 ? "" : ", ").append(to_string(static_cast<Subsystem>(i)));
  }
  return names;
}

}  // namespace

std::optional<std::int64_t> parse_bytes(std::string_view text) {
  constexpr std::string_view kSuffixes = "KMG";
  std::int64_t factor = 1;
  if (!text.empty()) {
    if (const std::size_t index = kSuffixes.find(text.back()); index != std::string_view::npos) {
      factor = std::int64_t{1} << (10 * (index + 1));
      text.remove_suffix(1);
    }
  }
  const auto value = parse_integer(text);
  return value ? checked_mul(*value, factor) : std::nullopt;
}

std::span<const SettingRow> setting_table() {
  return kTable;
}

std::string flag_of(const SettingRow& row) {
  constexpr std::string_view kWithout[] = {"nccl_library", "p2p_verbose", "master_addr", "master_port"};
  if (std::find(std::begin(kWithout), std::end(kWithout), row.name) != std::end(kWithout)) return "";
  std::string flag = "--" + std::string(row.name);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

Settings::Settings(const std::map<std::string, std::string>& flags, const GetEnv& get_env,
                   const std::filesystem::path& file) {
  for (const SettingRow& row : kTable) values_[std::string(row.name)] = {std::string(row.default_value), "default"};
  if (file_exists(file)) {
    const Json json = read_json_file(file);
    if (!json.is_object()) fail(ErrorKind::kBadFile, "{}: expected a JSON object of settings", file.string());
    for (const auto& item : json.items()) {
      const SettingRow* row = find_row(item.key());
      if (row == nullptr) {
        std::vector<std::string_view> names;
        for (const SettingRow& known : kTable) names.push_back(known.name);
        fail_with_hint(ErrorKind::kInvalidArgument, format("{}: there is no setting \"{}\"", file.string(), item.key()),
                       suggest(item.key(), names));
      }
      const Json& value = item.value();
      if (value.is_structured() || value.is_null()) {
        fail_with_hint(ErrorKind::kInvalidArgument,
                       format("{}: {} is {}", file.string(), item.key(), value.dump().substr(0, 60)),
                       format("expected {}", expected(row->type)));
      }
      set(*row, value.is_string() ? value.get<std::string>() : value.dump(), format("file {}", file.string()));
    }
  }
  for (const SettingRow& row : kTable) {
    const char* guide = row.guide_env.empty() ? nullptr : get_env(row.guide_env.data());
    const char* own = get_env(row.env.data());
    if (guide != nullptr && own != nullptr && std::string_view(guide) != own) {
      fail_with_hint(ErrorKind::kInvalidArgument,
                     format("{} is \"{}\" but {} is \"{}\"; both name the setting {}", row.env, own, row.guide_env,
                            guide, row.name),
                     "unset one of them");
    }
    if (guide != nullptr) set(row, guide, format("environment {}", row.guide_env));
    if (own != nullptr) set(row, own, format("environment {}", row.env));
    if (const auto flag = flags.find(std::string(row.name)); flag != flags.end()) {
      set(row, flag->second, format("flag {}", flag_of(row)));
    }
  }
}

void Settings::set(const SettingRow& row, std::string text, std::string origin) {
  if (!is_valid(row.type, text)) {
    fail_with_hint(ErrorKind::kInvalidArgument, format("{}: {} is \"{}\"", origin, row.name, text),
                   format("expected {}: {}", expected(row.type), row.help));
  }
  values_[std::string(row.name)] = {std::move(text), std::move(origin)};
}

const SettingValue& Settings::value(std::string_view name) const {
  const auto found = values_.find(name);
  TANDEM_CHECK(found != values_.end(), "setting {}", name);
  return found->second;
}

std::int64_t Settings::integer(std::string_view name) const {
  return parse_bytes(string(name)).value_or(0);
}
int Settings::bounded(std::string_view name, int most) const {
  const std::int64_t number = integer(name);
  if (number > most) {
    fail_with_hint(ErrorKind::kInvalidArgument, format("{}: {} is {}", value(name).origin, name, string(name)),
                   format("use 1 to {}, or leave it out", most));
  }
  return static_cast<int>(number);
}

double Settings::number(std::string_view name) const {
  return parse_number(string(name)).value_or(0);
}
bool Settings::boolean(std::string_view name) const {
  return parse_bool(string(name)).value_or(false);
}

std::vector<std::string> Settings::list(std::string_view name) const {
  std::vector<std::string> items;
  std::string_view text = value(name).text;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    items.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return items;
}

std::filesystem::path user_folder(const GetEnv& get_env, const char* variable, const char* otherwise) {
  const auto absolute = [&](const char* name) -> std::filesystem::path {
    const char* value = get_env(name);
    return value != nullptr && *value == '/' ? value : "";
  };
  if (auto folder = absolute(variable); !folder.empty()) return folder;
  const auto home = absolute("HOME");
  return home.empty() ? home : home / otherwise;
}

std::filesystem::path settings_file(const GetEnv& get_env) {
  const auto folder = user_folder(get_env, "XDG_CONFIG_HOME", ".config");
  return folder.empty() ? folder : folder / "tandem" / "settings.json";
}

std::filesystem::path profile_folder_of(const Settings& settings, const GetEnv& get_env) {
  const std::string named = settings.string("profile_dir");
  if (named == "off") return {};
  if (!named.empty()) return named;
  const auto folder = user_folder(get_env, "XDG_CACHE_HOME", ".cache");
  return folder.empty() ? folder : folder / "tandem" / "profiles";
}

void apply_log_settings(const Settings& settings) {
  for (const std::string& item : settings.list("log_level")) {
    const std::size_t equals = item.find('=');
    const std::string_view name = equals == std::string::npos ? "" : std::string_view(item).substr(0, equals);
    const auto level = parse_level(std::string_view(item).substr(equals == std::string::npos ? 0 : equals + 1));
    bool known = level.has_value() && (name.empty() == (equals == std::string::npos));
    bool matched = name.empty();
    for (int i = 0; known && i < kNumSubsystems; ++i) {
      const auto subsystem = static_cast<Subsystem>(i);
      if (!name.empty() && to_string(subsystem) != name) continue;
      matched = true;
      set_log_level(subsystem, *level);
    }
    if (!known || !matched) {
      fail_with_hint(
          ErrorKind::kInvalidArgument,
          format("{}: log_level is \"{}\"", settings.value("log_level").origin, settings.string("log_level")),
          format("expected trace, debug, info, warn, error or off, alone or as comm=debug; subsystems are {}",
                 subsystem_names()));
    }
  }
  if (settings.boolean("p2p_verbose")) set_log_level(Subsystem::kComm, LogLevel::kTrace);
}

}  // namespace tandem::cli
