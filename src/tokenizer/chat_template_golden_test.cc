// Every case of tests/golden/chat_templates against what Jinja2 made of it.

#include <gtest/gtest.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tandem/error.h"
#include "tokenizer/chat_template.h"

namespace tandem {
namespace {

using OrderedJson = nlohmann::ordered_json;  // the order of keys shows in what tojson writes

struct Outcome {
  bool is_error = false;
  std::string text;  ///< the output, or the error's message
  ErrorKind kind = ErrorKind::kInternal;
};

Outcome render(const std::string& source, const OrderedJson& variables) {
  ChatTemplateInput input;
  input.variables_json = variables.dump();
  std::tm now{};  // Friday, 26 July 2024, 09:05:03
  now.tm_year = 124;
  now.tm_mon = 6;
  now.tm_mday = 26;
  now.tm_hour = 9;
  now.tm_min = 5;
  now.tm_sec = 3;
  now.tm_wday = 5;
  now.tm_yday = 207;
  input.now = now;
  try {
    return {.text = ChatTemplate(source, "cases.json").render(input)};
  } catch (const Error& error) {
    return {true, error.what(), error.kind()};
  }
}

TEST(ChatTemplateGolden, EveryCaseRendersAsInJinja2AndFailsWhereItFails) {
  std::ifstream file(TANDEM_SOURCE_DIR "/tests/golden/chat_templates/cases.json");
  const OrderedJson golden = OrderedJson::parse(file);
  ASSERT_GT(golden.at("cases").size(), 600u);
  for (const OrderedJson& test_case : golden.at("cases")) {
    const bool is_family = test_case.contains("family");
    const std::string source =
        is_family ? golden.at("templates").at(test_case.at("family").get<std::string>()) : test_case.at("template");
    const Outcome outcome = render(source, is_family ? test_case.at("variables") : golden.at("variables"));
    const std::string name = test_case.at("name").get<std::string>() + (is_family ? "" : "\n" + source);
    const std::string error = test_case.value("error", "");
    EXPECT_EQ(outcome.is_error, !error.empty()) << name << "\n" << outcome.text << "\n" << error;
    if (outcome.is_error == error.empty()) continue;
    if (!outcome.is_error) {
      EXPECT_EQ(outcome.text, test_case.at("output").get<std::string>()) << name;
    } else if (test_case.contains("message")) {
      EXPECT_EQ(outcome.kind, ErrorKind::kInvalidArgument) << name;
      EXPECT_NE(outcome.text.find(test_case.at("message").get<std::string>()), std::string::npos)
          << name << outcome.text;
    } else {
      EXPECT_EQ(outcome.kind, ErrorKind::kBadFile) << name << "\n" << outcome.text;
      EXPECT_NE(outcome.text.find("cases.json: chat template, line "), std::string::npos) << name << outcome.text;
    }
  }
}

}  // namespace
}  // namespace tandem
