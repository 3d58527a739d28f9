// `tandem config show`: every setting, its value and where it comes from.
#include "base/format.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/output.h"

namespace tandem::cli {

int config_show_command(bool json, const Settings& settings) {
  Json report = Json::object();
  std::string text = format("{:<16} {:<12} {:<34} {}\n", "setting", "value", "origin", "meaning");
  for (const SettingRow& row : setting_table()) {
    const SettingValue& value = settings.value(row.name);
    report[std::string(row.name)] = {{"value", value.text}, {"origin", value.origin}};
    text +=
        format("{:<16} {:<12} {:<34} {}\n", row.name, value.text.empty() ? "-" : value.text, value.origin, row.help);
    std::string names = format("{}{}", row.env, row.guide_env.empty() ? "" : format(" or {}", row.guide_env));
    text += format("{:<64} {}\n", "", names);
  }
  if (json) text = json_text(report, 2) + "\n";
  write_stdout(text);
  return 0;
}

}  // namespace tandem::cli
