#include "tokenizer/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tandem/error.h"

namespace tandem {
namespace {

using testing::HasSubstr;

const ChatTemplateInput& two_messages() {
  static const ChatTemplateInput kInput{.messages = {{"system", "Be kind."}, {"user", "Hi"}}, .bos_token = "<s>"};
  return kInput;
}

std::string render(const std::string& source, const ChatTemplateInput& input = two_messages()) {
  return ChatTemplate(source, "t.jinja").render(input);
}

/// The error that compiling or rendering ends in.
Error error_of(const std::string& source, const ChatTemplateInput& input = two_messages()) {
  try {
    const std::string text = render(source, input);
    ADD_FAILURE() << "no error but " << text.size() << " bytes for: " << source.substr(0, 200);
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorKind::kInternal, "");
}

/// Limits that are reached sooner than the defaults.
const ChatTemplateInput& with_small_limits() {
  static const ChatTemplateInput kInput = [] {
    ChatTemplateInput input = two_messages();
    input.limits = {.max_text_bytes = 1 << 20, .max_memory_bytes = 1 << 24, .max_steps = 1 << 20};
    return input;
  }();
  return kInput;
}

TEST(ChatTemplate, RendersMessagesAndTheGenerationPrompt) {
  const std::string source =
      "{% for m in messages %}\n<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\n"
      "{% if add_generation_prompt %}\n<|im_start|>assistant\n{% endif %}";
  const std::string turns = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n";
  EXPECT_EQ(render(source), turns + "<|im_start|>assistant\n");
  ChatTemplateInput input = two_messages();
  input.add_generation_prompt = false;
  EXPECT_EQ(render(source, input), turns);
}

TEST(ChatTemplate, LeavesEmptyTokensUndefinedAndSetsToolsToNone) {
  EXPECT_EQ(render("{{ bos_token }}|{{ eos_token is defined }}|{{ tools is none }}|{{ documents is none }}"),
            "<s>|False|True|True");
}

TEST(ChatTemplate, TakesFurtherVariablesFromJsonInTheirOrder) {
  ChatTemplateInput input = two_messages();
  input.variables_json =
      R"({"tools": [{"z": 1, "a": {"y": 2.0, "b": null}}], "enable_thinking": false, "messages": []})";
  EXPECT_EQ(render("{{ tools | tojson }} {{ enable_thinking }} {{ messages | length }}", input),
            R"([{"z": 1, "a": {"y": 2.0, "b": null}}] False 0)");
}

TEST(ChatTemplate, RefusesVariablesThatAreNoJsonObject) {
  ChatTemplateInput input = two_messages();
  for (const std::string text : {"[1]", "{", "{} {}", "nope", "{\"a\": 1e999}"}) {
    input.variables_json = text;
    EXPECT_EQ(error_of("x", input).kind(), ErrorKind::kInvalidArgument) << text;
  }
  input.variables_json = "{\"a\": " + std::string(5000, '[') + std::string(5000, ']') + "}";
  EXPECT_THAT(error_of("x", input).what(), HasSubstr("nested deeper"));
}

TEST(ChatTemplate, NamesPlaceAndExpectationInSyntaxErrors) {
  const Error error = error_of("line one\n  {{ 1 + }}");
  EXPECT_EQ(error.kind(), ErrorKind::kBadFile);
  EXPECT_STREQ(error.what(), "t.jinja: chat template, line 2, column 10: expected an expression, found '}}'");
  EXPECT_THAT(error_of("{% if x %}\n\n").what(), HasSubstr("expected '{% endif %}'"));
  EXPECT_THAT(error_of("{{ x | shout }}").what(), HasSubstr("line 1, column 8: there is no filter 'shout'"));
  EXPECT_THAT(error_of("{{ x is loud }}").what(), HasSubstr("there is no test 'loud'"));
  EXPECT_THAT(error_of("{% frobnicate %}").what(), HasSubstr("there is no tag 'frobnicate'"));
  const Error unsupported = error_of("{% include 'x' %}");
  EXPECT_EQ(unsupported.kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(unsupported.what(), HasSubstr("the tag 'include' is not supported"));
}

TEST(ChatTemplate, NamesThePlaceOfFailuresWhileRunning) {
  const Error error = error_of("ab\n{{ messages[0].nope.deeper }}");
  EXPECT_EQ(error.kind(), ErrorKind::kBadFile);
  EXPECT_STREQ(error.what(), "t.jinja: chat template, line 2, column 20: 'dict object' has no attribute 'nope'");
}

TEST(ChatTemplate, PassesOnTheMessageOfRaiseException) {
  const Error error =
      error_of("{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}");
  EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
  EXPECT_THAT(error.what(), HasSubstr("no system role"));
  EXPECT_THAT(error.what(), HasSubstr("t.jinja"));
}

TEST(ChatTemplate, TakesTheTimeFromTheInput) {
  ChatTemplateInput input = two_messages();
  std::tm now{};
  now.tm_year = 126;
  now.tm_mon = 1;
  now.tm_mday = 3;
  input.now = now;
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y') }}", input), "03 Feb 2026");
  EXPECT_THAT(error_of("{{ strftime_now('%99999d') }}").what(), HasSubstr("does not know the directive"));
  EXPECT_EQ(render("{{ strftime_now('%Y') | length }}"), "4");
}

TEST(ChatTemplate, CopiesInvalidUtf8AsItIs) {
  ChatTemplateInput input = two_messages();
  input.messages = {{"user", "a\xff\x85\xe2\x82z"}};
  EXPECT_EQ(render("{{ messages[0].content.strip() }}|{{ messages[0].content | length }}", input),
            "a\xff\x85\xe2\x82z|6");
}

TEST(ChatTemplate, BoundsItsOutput) {
  EXPECT_THAT(error_of("{% for i in range(99999) %}{{ 'x' * 100000 }}{% endfor %}").what(), HasSubstr("grows beyond"));
  EXPECT_THAT(error_of("{{ 'x' * 9223372036854775807 }}").what(), HasSubstr("grows beyond"));
  EXPECT_THAT(error_of("{{ 'xx' * 9223372036854775807 }}").what(), HasSubstr("grows beyond"));
  EXPECT_THAT(error_of("{{ ('x' * 9999999).replace('x', 'y' * 9999999) }}").what(), HasSubstr("grows beyond"));
  EXPECT_THAT(error_of("{{ '%999s' * 99999 }}{{ '%99999s' % 1 }}").what(), HasSubstr("above 1000"));
}

TEST(ChatTemplate, BoundsItsSteps) {
  const auto what = [](const std::string& source) { return std::string(error_of(source, with_small_limits()).what()); };
  EXPECT_THAT(what("{% for a in range(50000) %}{{ a + a + a + a + a + a + a + a + a + a + a + a }}{% endfor %}"),
              HasSubstr("steps"));
  // Search whose work is the product of the lengths.
  EXPECT_THAT(what("{{ ('a' * 500000 ~ 'b') in ('a' * 1000000) }}"), HasSubstr("steps"));
  EXPECT_THAT(what("{{ range(100001) }}"), HasSubstr("range() of more than 100000"));
}

TEST(ChatTemplate, BoundsItsMemory) {
  const auto what = [](const std::string& source) { return std::string(error_of(source, with_small_limits()).what()); };
  EXPECT_THAT(what("{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = ns.l + ['x' * 100000] %}"
                   "{% endfor %}"),
              HasSubstr("bytes of memory"));
  // Sharing makes a value of 2 to the power of 60 elements out of few bytes: printing and comparing count.
  const std::string doubled =
      "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(60) %}"
      "{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}";
  for (const std::string use : {"{{ ns.a }}", "{{ ns.a == ns.b }}", "{{ ns.a | tojson }}", "{{ ns.a < ns.b }}"}) {
    EXPECT_THAT(what(doubled + use), testing::AnyOf(HasSubstr("steps"), HasSubstr("grows beyond"))) << use;
  }
}

TEST(ChatTemplate, BoundsNestingOfValues) {
  const std::string loop = "{% set ns = namespace(v=[]) %}{% for i in range(99999) %}";
  EXPECT_THAT(error_of(loop + "{% set ns.v = [ns.v] %}{% endfor %}").what(), HasSubstr("nested deeper"));
  EXPECT_THAT(error_of(loop + "{% set ns.v = {1: ns.v} %}{% endfor %}").what(), HasSubstr("nested deeper"));
  EXPECT_THAT(error_of(loop + "{% set ns.v = [ns.v].count %}{% endfor %}").what(), HasSubstr("nested deeper"));
  EXPECT_THAT(error_of(loop + "{% for x in [ns.v] %}{% set ns.v = loop %}{% endfor %}{% endfor %}").what(),
              HasSubstr("nested deeper"));
  EXPECT_THAT(error_of("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}").what(),
              HasSubstr("nested too deeply"));
}

TEST(ChatTemplate, BoundsRecursion) {
  EXPECT_THAT(error_of("{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}").what(), HasSubstr("recurses deeper"));
  const std::vector<std::pair<std::string, std::string>> brackets = {
      {"(", ")"}, {"[", "]"}, {"{1:", "}"}, {"f(", ")"}, {"not ", ""}, {"-", ""}, {"1 if 1 else ", ""}};
  for (const auto& [open, close] : brackets) {
    std::string source = "{{ ";
    for (int i = 0; i < 50000; ++i) source += open;
    source += "1";
    for (int i = 0; i < 50000; ++i) source += close;
    EXPECT_THAT(error_of(source + " }}").what(), HasSubstr("nested deeper")) << open;
  }
  for (const std::string link : {".a", "|trim", " + 1", " and 1", "[0]", "()"}) {
    std::string source = "{{ x";
    for (int i = 0; i < 100000; ++i) source += link;
    EXPECT_THAT(error_of(source + " }}").what(), HasSubstr("levels")) << link;
  }
  std::string blocks;
  for (int i = 0; i < 1000; ++i) blocks += "{% if 1 %}";
  EXPECT_THAT(error_of(blocks).what(), HasSubstr("nested deeper"));
  std::string maps = "{{ 'a' | map('map'";
  for (int i = 0; i < 1000; ++i) maps += ", 'map'";
  EXPECT_THAT(error_of(maps + ") | list }}").what(), HasSubstr("more than 100 arguments"));
}

TEST(ChatTemplate, AllowsTheDeepestTreeTheParserAccepts) {
  std::string chain = "{{ 1";
  for (int i = 0; i < 290; ++i) chain += " + 1";
  EXPECT_EQ(render(chain + " }}"), "291");
  EXPECT_EQ(render("{{ " + std::string(95, '(') + "1" + std::string(95, ')') + " }}"), "1");
}

TEST(ChatTemplate, RefusesATemplateAboveTheSizeLimit) {
  EXPECT_THAT(error_of(std::string((1 << 20) + 1, 'x')).what(), HasSubstr("1048577 bytes, more than 1048576"));
}

TEST(ChatTemplate, FailsOnIntegersBeyond64Bits) {
  EXPECT_THAT(error_of("{{ 9223372036854775807 + 1 }}").what(), HasSubstr("integer overflow"));
  EXPECT_THAT(error_of("{{ 3 ** 99 }}").what(), HasSubstr("integer overflow"));
  EXPECT_THAT(error_of("{{ 9223372036854775808 }}").what(), HasSubstr("more than 64 bits"));
  EXPECT_THAT(error_of("{{ '9223372036854775808' | int }}").what(), HasSubstr("more than 64 bits"));
  EXPECT_EQ(render("{{ (-9223372036854775807 - 1) % -1 }}"), "0");
  EXPECT_THAT(error_of("{{ (-9223372036854775807 - 1) // -1 }}").what(), HasSubstr("integer overflow"));
}

TEST(ChatTemplate, KeepsAMacroUsableAfterItsBlock) {
  EXPECT_EQ(render("{% set ns = namespace() %}{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}"
                   "{% set ns.f = m %}{% endfor %}{{ ns.f() }}"),
            "2");
}

TEST(ChatTemplate, RendersFromSeveralThreadsAtOnce) {
  const ChatTemplate chat_template("{% set x = 'constant' %}{% for m in messages %}{{ x ~ m.content }}{% endfor %}",
                                   "t");
  const std::string expected = chat_template.render(two_messages());
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) wrong[t] += chat_template.render(two_messages()) != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, testing::Each(0));
}

}  // namespace
}  // namespace tandem
