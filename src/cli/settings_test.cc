#include "cli/settings.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "base/log.h"
#include "base/suggest.h"

namespace tandem::cli {
namespace {

using Variables = std::map<std::string, std::string>;

GetEnv env(const Variables& variables) {
  return [&variables](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
}

class SettingsFile : public testing::Test {
 protected:
  ~SettingsFile() override { std::filesystem::remove(path_); }
  void write(const std::string& text) { std::ofstream(path_) << text; }
  std::filesystem::path path_ =
      std::filesystem::path(testing::TempDir()) / ("settings-" + std::to_string(getpid()) + ".json");
};

TEST_F(SettingsFile, AFlagBeatsTheEnvironmentBeatsTheFileBeatsTheDefault) {
  const Variables none;
  const Variables some = {{"TANDEM_TIMEOUT", "7"}};
  EXPECT_EQ(Settings({}, env(none), path_).value("timeout").origin, "default");
  write(R"({"timeout": 5.5, "tp": 3})");
  const Settings from_file({}, env(none), path_);
  EXPECT_EQ(from_file.number("timeout"), 5.5);
  EXPECT_EQ(from_file.integer("tp"), 3);
  EXPECT_EQ(from_file.value("tp").origin, "file " + path_.string());
  const Settings from_env({}, env(some), path_);
  EXPECT_EQ(from_env.number("timeout"), 7);
  EXPECT_EQ(from_env.value("timeout").origin, "environment TANDEM_TIMEOUT");
  const Settings from_flag({{"timeout", "9"}}, env(some), path_);
  EXPECT_EQ(from_flag.number("timeout"), 9);
  EXPECT_EQ(from_flag.value("timeout").origin, "flag --timeout");
}

TEST_F(SettingsFile, TheGuidesVariablesAreRead) {
  const Variables variables = {{"EXLLAMA_P2P_VERBOSE", "1"},
                               {"EXLLAMA_P2P_BUFFER_SIZE", "67108864"},
                               {"EXLLAMA_MASTER_ADDR", "10.0.0.1"},
                               {"EXLLAMA_MASTER_PORT", "29500"}};
  const Settings settings({}, env(variables), path_);
  EXPECT_TRUE(settings.boolean("p2p_verbose"));
  EXPECT_EQ(settings.integer("p2p_buffer_size"), 67108864);
  EXPECT_EQ(settings.string("master_addr"), "10.0.0.1");
  EXPECT_EQ(settings.integer("master_port"), 29500);
  apply_log_settings(settings);
  EXPECT_TRUE(log_enabled(Subsystem::kComm, LogLevel::kTrace));
  EXPECT_FALSE(log_enabled(Subsystem::kModel, LogLevel::kInfo));
  const Variables both = {{"EXLLAMA_P2P_VERBOSE", "1"}, {"TANDEM_P2P_VERBOSE", "0"}};
  EXPECT_THROW(Settings({}, env(both), path_), Error);
}

TEST_F(SettingsFile, RefusesValuesOfTheWrongTypeAndUnknownKeys) {
  const Variables bad = {{"TANDEM_THREADS", "many"}};
  try {
    Settings({}, env(bad), path_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("environment TANDEM_THREADS"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("many"), std::string::npos);
  }
  const Variables none;
  write(R"({"thread": 2})");
  try {
    Settings({}, env(none), path_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.hint(), "did you mean \"threads\"?");
  }
  write("{\"tp\": [1]}");
  EXPECT_THROW(Settings({}, env(none), path_), Error);
  write("[]");
  EXPECT_THROW(Settings({}, env(none), path_), Error);
}

TEST_F(SettingsFile, BytesTakeASuffixAndDoNotOverflow) {
  const Variables none;
  const auto bytes = [&](const Variables& variables) {
    return Settings({}, env(variables), path_).integer("p2p_buffer_size");
  };
  EXPECT_EQ(bytes({{"TANDEM_P2P_BUFFER_SIZE", "16M"}}), 16 << 20);
  EXPECT_THROW(bytes({{"TANDEM_P2P_BUFFER_SIZE", "9999999999999G"}}), Error);
  EXPECT_THROW(bytes({{"TANDEM_P2P_BUFFER_SIZE", "-1"}}), Error);
  EXPECT_EQ(Settings({{"p2p_buffer_size", "8M"}}, env(none), path_).value("p2p_buffer_size").origin,
            "flag --p2p-buffer-size");
}

TEST(UserFolder, IsAbsoluteOrNone) {
  const auto file = [](const Variables& variables) { return settings_file(env(variables)).string(); };
  EXPECT_EQ(file({{"XDG_CONFIG_HOME", "/c"}, {"HOME", "/h"}}), "/c/tandem/settings.json");
  EXPECT_EQ(file({{"HOME", "/h"}}), "/h/.config/tandem/settings.json");
  // Not a file of whatever folder the program is started in.
  EXPECT_EQ(file({{"XDG_CONFIG_HOME", "c"}, {"HOME", "/h"}}), "/h/.config/tandem/settings.json");
  EXPECT_EQ(file({{"XDG_CONFIG_HOME", ""}, {"HOME", "/h"}}), "/h/.config/tandem/settings.json");
  EXPECT_EQ(file({{"XDG_CONFIG_HOME", "c"}, {"HOME", "h"}}), "");
  EXPECT_EQ(file({}), "");
  const Variables none;
  EXPECT_EQ(Settings({}, env(none), "").value("timeout").origin, "default");
}

TEST(ProfileFolder, IsNamedInTheUsersCacheOrOff) {
  const auto folder = [](const Variables& variables) {
    return profile_folder_of(Settings({}, env(variables), ""), env(variables)).string();
  };
  EXPECT_EQ(folder({{"XDG_CACHE_HOME", "/c"}, {"HOME", "/h"}}), "/c/tandem/profiles");
  EXPECT_EQ(folder({{"HOME", "/h"}}), "/h/.cache/tandem/profiles");
  EXPECT_EQ(folder({}), "");
  EXPECT_EQ(folder({{"HOME", "/h"}, {"TANDEM_PROFILE_DIR", "/p"}}), "/p");
  EXPECT_EQ(folder({{"HOME", "/h"}, {"TANDEM_PROFILE_DIR", "off"}}), "");
}

TEST(LogLevels, AreSetPerSubsystem) {
  const Variables variables = {{"TANDEM_LOG_LEVEL", "error,model=debug"}};
  apply_log_settings(Settings({}, env(variables), "/none"));
  EXPECT_TRUE(log_enabled(Subsystem::kModel, LogLevel::kDebug));
  EXPECT_FALSE(log_enabled(Subsystem::kCli, LogLevel::kWarn));
  for (const char* text : {"loud", "model=loud", "engine=debug", "weights=debug", "=debug"}) {
    const Variables wrong = {{"TANDEM_LOG_LEVEL", text}};
    try {
      apply_log_settings(Settings({}, env(wrong), "/none"));
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_TRUE(error.hint().ends_with("subsystems are comm, model, cli")) << error.hint();
    }
  }
}

TEST(Suggest, NamesTheNearestOrAll) {
  const std::vector<std::string_view> known = {"--temperature", "--top-k"};
  EXPECT_EQ(suggest("--temprature", known), "did you mean \"--temperature\"?");
  EXPECT_EQ(suggest("--zzzzzz", known), "there are: --temperature, --top-k");
}

}  // namespace
}  // namespace tandem::cli
