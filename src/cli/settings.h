#pragma once
// Settings: one table, four layers. A flag beats the environment, the environment beats the settings file, the file
// beats the default; where a value came from is kept and shown by `tandem config show`.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tandem::cli {

enum class SettingType { kString, kInteger, kNumber, kBool, kBytes };

struct SettingRow {
  std::string_view name;  ///< in the settings file; with dashes, the flag: tp_backend is --tp-backend
  SettingType type;
  std::string_view default_value;  ///< empty: chosen when used
  std::string_view env;            ///< our variable
  std::string_view guide_env;      ///< the ExLlamaV3 guide's name for it, or empty
  std::string_view help;
};

std::span<const SettingRow> setting_table();
/// "--tp-backend" for "tp_backend"; "" for settings that have no flag.
std::string flag_of(const SettingRow& row);

struct SettingValue {
  std::string text;    ///< as given
  std::string origin;  ///< "default", "file PATH", "environment VARIABLE", "flag --NAME"
};

/// "4096", "64K", "2M", "1G"
std::optional<std::int64_t> parse_bytes(std::string_view text);

/// Looks a variable of the environment up; nullptr when it is not set.
using GetEnv = std::function<const char*(const char*)>;

class Settings {
 public:
  /// `flags` by setting name. Throws Error naming origin and value: values of the wrong type, unknown keys of the file,
  /// two variables for one setting that disagree. An empty `file` is none.
  Settings(const std::map<std::string, std::string>& flags, const GetEnv& get_env, const std::filesystem::path& file);

  const SettingValue& value(std::string_view name) const;
  bool is_set(std::string_view name) const { return !value(name).text.empty(); }
  std::string string(std::string_view name) const { return value(name).text; }
  /// Settings of other types; the text was checked before. Empty values are 0 or false.
  std::int64_t integer(std::string_view name) const;
  /// An integer that must not be above `most`: throws kInvalidArgument naming its origin.
  int bounded(std::string_view name, int most) const;
  double number(std::string_view name) const;
  bool boolean(std::string_view name) const;
  /// Comma separated.
  std::vector<std::string> list(std::string_view name) const;

 private:
  void set(const SettingRow& row, std::string text, std::string origin);
  std::map<std::string, SettingValue, std::less<>> values_;
};

/// The user's folder that `variable` names ("XDG_CONFIG_HOME"), else `otherwise` below $HOME. Relative paths are
/// ignored, as the XDG specification has it: they would name another folder wherever the program is started. Empty:
/// there is none.
std::filesystem::path user_folder(const GetEnv& get_env, const char* variable, const char* otherwise);

/// $XDG_CONFIG_HOME/tandem/settings.json, or below ~/.config; empty when there is no such folder.
std::filesystem::path settings_file(const GetEnv& get_env);

/// profile_dir, else $XDG_CACHE_HOME/tandem/profiles, or below ~/.cache; empty: off, or there is no such folder.
std::filesystem::path profile_folder_of(const Settings& settings, const GetEnv& get_env);

/// Sets log levels from the settings. Before any thread is started.
void apply_log_settings(const Settings& settings);

}  // namespace tandem::cli
