#include "generate/text_stream.h"

#include <gtest/gtest.h>

#include <random>

#include "base/format.h"
#include "generate/generate_test_rig.h"

namespace tandem {
namespace {

using Strings = std::vector<std::string>;

TEST(StopFilter, PassesTextThroughWhenThereIsNothingToStopAt) {
  StopFilter filter({});
  EXPECT_EQ(filter.push("one "), "one ");
  EXPECT_EQ(filter.push("two"), "two");
  EXPECT_EQ(filter.flush(), "");
  EXPECT_FALSE(filter.stopped());
}

TEST(StopFilter, HoldsBackWhatMayBecomeAStopString) {
  StopFilter filter({"###"});
  EXPECT_EQ(filter.push("a#"), "a");
  EXPECT_EQ(filter.push("#b#"), "##b");
  EXPECT_EQ(filter.push("##c"), "");
  EXPECT_TRUE(filter.stopped());
  EXPECT_EQ(filter.push("more"), "");
  EXPECT_EQ(filter.flush(), "");
}

TEST(StopFilter, GivesBackHeldTextAtTheEnd) {
  StopFilter filter({"</end>"});
  EXPECT_EQ(filter.push("text </en"), "text ");
  EXPECT_EQ(filter.flush(), "</en");
  EXPECT_FALSE(filter.stopped());
}

TEST(StopFilter, StopsAtAPrefixOfAnotherStopString) {
  StopFilter filter({"stopping", "stop"});
  EXPECT_EQ(filter.push("do not sto"), "do not ");
  EXPECT_EQ(filter.push("pping"), "");
  EXPECT_TRUE(filter.stopped());
}

TEST(StopFilter, TakesTheLongestOfThoseCompleteAtTheSameCharacter) {
  StopFilter filter({"op", "stop"});
  EXPECT_EQ(filter.push("a stop"), "a ");
  EXPECT_TRUE(filter.stopped());
}

TEST(StopFilter, TakesTheOneCompleteFirstEvenInsideAnother) {
  StopFilter filter({"abcd", "bc"});
  EXPECT_EQ(filter.push("xabcd"), "xa");
  EXPECT_TRUE(filter.stopped());
}

TEST(StopFilter, FindsAStopStringThatOverlapsAFalseStart) {
  StopFilter filter({"aab"});
  EXPECT_EQ(filter.push("a"), "");
  EXPECT_EQ(filter.push("a"), "");
  EXPECT_EQ(filter.push("a"), "a");
  EXPECT_EQ(filter.push("b"), "");
  EXPECT_TRUE(filter.stopped());
}

TEST(StopFilter, DoesNotDependOnHowTheTextArrives) {
  for (unsigned seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(format("seed {}", seed));
    std::mt19937 random(seed);
    const auto draw = [&](std::size_t most) { return std::uniform_int_distribution<std::size_t>(0, most)(random); };
    const auto word = [&](std::size_t length) {
      std::string text;
      for (std::size_t i = 0; i < length; ++i) text += "ab"[draw(1)];
      return text;
    };
    Strings stops;
    for (std::size_t i = draw(3); i > 0; --i) stops.push_back(word(1 + draw(4)));
    const std::string text = word(draw(30));
    StopFilter filter(stops);
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t length = 1 + draw(5);
      out += filter.push(std::string_view(text).substr(at, length));
      at += length;
    }
    const std::string expected = cut_at_stop(text, stops);
    EXPECT_EQ(filter.stopped(), expected != text);
    EXPECT_EQ(out + filter.flush(), expected);
  }
}

TEST(TextStream, FindsAStopStringAcrossTokensAndInsideCharacters) {
  const auto tokenizer = test_tokenizer();
  // Every byte a token of its own: "\u00e9\u20ac" are two and three tokens.
  TextStream stream(tokenizer, {}, {"\u00e9\u20ac"});
  std::string text;
  for (const std::int32_t id : byte_tokens("a\u00e9b\u00e9\u20ac")) {
    EXPECT_FALSE(stream.stopped());
    text += stream.push(id);
  }
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(text + stream.finish(), "a\u00e9b");
}

TEST(TextStream, EmitsWholeCharactersOnly) {
  const auto tokenizer = test_tokenizer();
  TextStream stream(tokenizer, {}, {});
  const std::vector<std::int32_t> ids = byte_tokens("\u20acx");
  EXPECT_EQ(stream.push(ids[0]), "");
  EXPECT_EQ(stream.push(ids[1]), "");
  EXPECT_EQ(stream.push(ids[2]), "\u20ac");
  EXPECT_EQ(stream.push(ids[3]), "x");
}

TEST(TextStream, ShowsAnIncompleteCharacterAtTheEnd) {
  const auto tokenizer = test_tokenizer();
  TextStream stream(tokenizer, {}, {"never"});
  const std::vector<std::int32_t> ids = byte_tokens("nev\u20ac");
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) EXPECT_EQ(stream.push(ids[i]), "");
  EXPECT_EQ(stream.finish(), "nev\uFFFD");
  EXPECT_FALSE(stream.stopped());
}

}  // namespace
}  // namespace tandem
