#include "diagnose/doctor/explain.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/json.h"
#include "comm/trust/choice.h"
#include "diagnose/doctor/cuda_codes.h"
#include "diagnose/doctor/findings.h"
#include "tandem/error.h"

namespace tandem {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Explain, KnowsEveryCodeThatTandemPrints) {
  std::vector<std::string> codes = {"nvlink-without-access", "no-nvml", "back-end-refused"};
  for (const FindingRow& row : finding_table()) codes.emplace_back(row.code);
  for (int i = 0; i <= static_cast<int>(Reason::kForcedOther); ++i) {
    codes.emplace_back(to_string(static_cast<Reason>(i)));
  }
  for (int i = 0; i <= static_cast<int>(ErrorKind::kInternal); ++i) {
    codes.emplace_back(to_string(static_cast<ErrorKind>(i)));
  }
  for (const ProbeOutcome outcome :
       {ProbeOutcome::kNotTried, ProbeOutcome::kPassed, ProbeOutcome::kNoAccess, ProbeOutcome::kMapFailed,
        ProbeOutcome::kLost, ProbeOutcome::kCorrupt, ProbeOutcome::kOutOfOrder}) {
    codes.emplace_back(to_string(outcome));
  }
  const std::vector<std::string_view> known = known_codes();
  for (const std::string& code : codes) {
    SCOPED_TRACE(code);
    const auto text = explain_text(code);
    ASSERT_TRUE(text);
    EXPECT_THAT(*text, testing::StartsWith(code + " ("));
    EXPECT_THAT(*text, Not(HasSubstr("): \n")));
    EXPECT_EQ(std::count(known.begin(), known.end(), code), 1);
    const Json json = parse_json(*explain_json(code), "x");
    for (const Json& meaning : json.at("meanings")) EXPECT_NE(meaning.at("title"), "");
    EXPECT_THAT(code_list_text(), HasSubstr("  " + code + " "));
  }
}

TEST(Explain, ErrorsOfCudaAreKnownByNumberToo) {
  for (const CudaCode& code : cuda_codes()) {
    SCOPED_TRACE(code.name);
    const auto text = explain_text(std::to_string(code.number));
    ASSERT_TRUE(text);
    EXPECT_EQ(text, explain_text(code.name));
    EXPECT_THAT(*text, testing::StartsWith(format("{} (error of CUDA {}): ", code.name, code.number)));
    EXPECT_EQ(parse_json(*explain_json(code.name), "x").at("meanings").at(0).at("number"), code.number);
    const std::string_view command = "tandem explain ";
    if (const std::size_t at = code.remedy.find(command); at != code.remedy.npos) {
      const std::string_view rest = code.remedy.substr(at + command.size());
      EXPECT_TRUE(explain_text(rest.substr(0, rest.find(' ')))) << rest;
    }
  }
  EXPECT_FALSE(explain_text("0"));
  EXPECT_FALSE(explain_text("9999"));
}

TEST(Explain, LinesFitATerminalButForCommands) {
  for (const std::string_view code : known_codes()) {
    std::istringstream lines(*explain_text(code));
    for (std::string line; std::getline(lines, line);) {
      const bool command = line.starts_with("           ");
      EXPECT_TRUE(command || line.size() <= 80) << code << ": " << line;
    }
  }
}

TEST(Explain, NothingIsSaidOfACodeThatThereIsNot) {
  EXPECT_FALSE(explain_text("no-such-code"));
  EXPECT_FALSE(explain_json("no-such-code"));
}

TEST(Explain, ThePageOfCodesIsCurrent) {
  std::ifstream page(TANDEM_SOURCE_DIR "/docs/reference/findings.md");
  std::istringstream current(code_list_markdown());
  std::string told, expected;
  while (std::getline(current, expected)) {
    std::getline(page, told);
    ASSERT_EQ(told, expected) << "write it anew: tandem explain --markdown > docs/reference/findings.md";
  }
  EXPECT_FALSE(std::getline(page, told)) << told;
}

}  // namespace
}  // namespace tandem
