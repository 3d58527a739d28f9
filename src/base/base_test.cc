#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>

#include "base/checked_math.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/file.h"
#include "base/half.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/quote.h"
#include "base/random.h"

namespace tandem {
namespace {

TEST(Error, CarriesKindMessageAndHint) {
  try {
    fail_with_hint(ErrorKind::kBadFile, format("{} at byte {}", "broken", 7), "fetch it again");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadFile);
    EXPECT_STREQ(error.what(), "broken at byte 7");
    EXPECT_EQ(error.hint(), "fetch it again");
  }
  EXPECT_THROW(TANDEM_CHECK(1 == 2, "values {}", 3), Error);
}

TEST(Error, OfAFileHasAHintWhereNoneIsGiven) {
  for (const ErrorKind kind : {ErrorKind::kBadFile, ErrorKind::kUnreadable, ErrorKind::kNotFound}) {
    try {
      fail(kind, "broken");
      FAIL();
    } catch (const Error& error) {
      EXPECT_FALSE(error.hint().empty());
    }
  }
}

TEST(Quote, LetsNoFileSteerOrFloodATerminal) {
  EXPECT_EQ(quote("lm_head.weight"), "\"lm_head.weight\"");
  EXPECT_EQ(quote("\u0120the \u65e5\u672c \U0001f600"), "\"\u0120the \u65e5\u672c \U0001f600\"");
  EXPECT_EQ(quote("\x1b[2J\n\t\x7f"), "\"?[2J???\"");
  EXPECT_EQ(quote("\u009b31m\u0080\u00a0"), "\"?31m?\u00a0\"");  // C1 controls, and what follows them
  EXPECT_EQ(quote("\x9b"
                  "31m\xe6\x97"),
            "\"?31m??\"");  // bytes that are no UTF-8: an 8-bit terminal takes the first for a C1 control
  EXPECT_EQ(quote(std::string(121, 'a')),
            "\"" + std::string(60, 'a') + "[... 1 bytes ...]" + std::string(60, 'a') + "\"");
  EXPECT_EQ(printable("line\n\tline\x1b[m\u0085"), "line\n\tline?[m?");
}

TEST(Half, EveryF16RoundTrips) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const F16 value{static_cast<std::uint16_t>(bits)};
    const float wide = to_float(value);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(to_float(to_f16(wide))));
    } else {
      ASSERT_EQ(to_f16(wide).bits, value.bits);
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(to_bf16(1.0f + 0x1p-8f).bits, 0x3f80);    // a tie goes to the even neighbour
  EXPECT_EQ(to_bf16(1.0f + 0x1.8p-7f).bits, 0x3f82);  // the other tie, upwards
  EXPECT_EQ(to_f16(1.0f + 0x1p-11f).bits, 0x3c00);
  EXPECT_EQ(to_f16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(to_f16(0x1p-25f).bits, 0x0000);
  EXPECT_TRUE(std::isnan(to_float(to_bf16(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(DType, CountsBytesInBlocks) {
  EXPECT_EQ(dtype_bytes(DType::kBF16, 3), 6u);
  EXPECT_EQ(dtype_bytes(DType::kQ4_1, 64), 40u);
  EXPECT_EQ(dtype_bytes(DType::kQ6_K, 256), 210u);
  EXPECT_THROW(dtype_bytes(DType::kQ4_0, 33), Error);
  EXPECT_EQ(parse_dtype("BF16"), DType::kBF16);
  EXPECT_EQ(parse_dtype("f8"), std::nullopt);
}

TEST(CheckedMath, SaysWhenAResultDoesNotFit) {
  EXPECT_EQ(checked_mul<std::int64_t>(3, 4), 12);
  EXPECT_EQ(checked_mul<std::int64_t>(std::int64_t{1} << 62, 4), std::nullopt);
  EXPECT_EQ(checked_add<std::uint64_t>(~std::uint64_t{0}, 1), std::nullopt);
}

TEST(Json, NamesFileAndByteOfAnError) {
  try {
    parse_json("{\"a\": 1,", "config.json");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadFile);
    EXPECT_NE(std::string(error.what()).find("config.json: broken JSON at byte 9"), std::string::npos) << error.what();
  }
  EXPECT_THROW(parse_json("{\"a\": 1, \"a\": 2}", "x"), Error);
  EXPECT_THROW(parse_json(std::string(100000, '['), "x"), Error);
  EXPECT_THROW(parse_json("[22e22222]", "x"), Error);  // found by fuzzing: no parse error, but out of range
}

TEST(Json, TextReplacesBytesThatAreNoUtf8) {
  const Json json = {{"a", "caf\xe9"}};
  EXPECT_EQ(json_text(json), "{\"a\":\"caf\xef\xbf\xbd\"}");
  EXPECT_EQ(json_text(json, 2), "{\n  \"a\": \"caf\xef\xbf\xbd\"\n}");
  EXPECT_EQ(json_ascii(json), R"({"a":"caf\ufffd"})");
}

TEST(MappedFile, ReportsWhatCannotBeOpened) {
  try {
    MappedFile file("/no/such/file");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  }
  EXPECT_THROW(MappedFile("/tmp"), Error);
}

TEST(NewFile, AppearsWholeOrNotAtAll) {
  const auto folder = std::filesystem::path(testing::TempDir()) / ("new-file-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  const auto path = folder / "file";
  const auto num_files = [&] {
    return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
  };
  {
    NewFile(path).write("given up");
  }
  EXPECT_EQ(num_files(), 0);
  for (const std::string text : {"one", "two"}) {
    NewFile file(path);
    file.write(text);
    EXPECT_NE(file_exists(path) ? read_text_file(path) : "", text);
    file.commit();
    EXPECT_EQ(read_text_file(path), text);
  }
  EXPECT_EQ(num_files(), 1);
  const auto link = folder / "link";
  std::filesystem::create_symlink("file", link);
  NewFile through_link(link);
  through_link.write("three");
  through_link.commit();
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(read_text_file(path), "three");
  EXPECT_THROW(NewFile{folder}, Error);
  EXPECT_THROW(NewFile{folder / "no" / "file"}, Error);
  std::filesystem::remove_all(folder);
}

TEST(Random, PhiloxMatchesItsPublishedVectors) {
  // Random123's known-answer file: philox4x32, 10 rounds.
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

}  // namespace
}  // namespace tandem
