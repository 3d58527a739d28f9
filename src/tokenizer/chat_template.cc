#include "tokenizer/chat_template.h"

#include <utility>

#include "base/error.h"
#include "base/quote.h"
#include "tokenizer/jinja_eval.h"
#include "tokenizer/jinja_json.h"
#include "tokenizer/jinja_parser.h"

namespace tandem {
namespace {

constexpr std::size_t kMaxSourceBytes = std::size_t{1} << 20;

constexpr const char* kOtherTemplate = "give another chat template, or none to prompt with plain text";

using Variables = std::vector<std::pair<std::string, jinja::Value>>;

std::shared_ptr<const jinja::Template> compile(const std::string& source, const std::string& origin) {
  if (source.size() > kMaxSourceBytes) {
    fail_with_hint(ErrorKind::kBadFile,
                   format("{}: the chat template has {} bytes, more than {}", origin, source.size(), kMaxSourceBytes),
                   kOtherTemplate);
  }
  try {
    return std::make_shared<const jinja::Template>(jinja::parse(source));
  } catch (const jinja::SyntaxError& error) {
    fail_with_hint(error.unsupported ? ErrorKind::kUnsupported : ErrorKind::kBadFile,
                   format("{}: chat template, line {}, column {}: {}", origin, error.at.line, error.at.column,
                          printable(error.message)),
                   kOtherTemplate);
  }
}

jinja::Value make_messages(jinja::Runtime& runtime, const std::vector<ChatMessage>& messages) {
  std::vector<jinja::Value> items;
  for (const ChatMessage& message : messages) {
    items.push_back(runtime.dict({{runtime.text("role"), runtime.text(message.role)},
                                  {runtime.text("content"), runtime.text(message.content)}}));
  }
  return runtime.list(std::move(items));
}

Variables make_variables(jinja::Runtime& runtime, const ChatTemplateInput& input) {
  Variables variables;
  variables.emplace_back("messages", make_messages(runtime, input.messages));
  variables.emplace_back("tools", jinja::Value(jinja::None{}));
  variables.emplace_back("documents", jinja::Value(jinja::None{}));
  variables.emplace_back("add_generation_prompt", jinja::Value(input.add_generation_prompt));
  if (!input.bos_token.empty()) variables.emplace_back("bos_token", runtime.text(input.bos_token));
  if (!input.eos_token.empty()) variables.emplace_back("eos_token", runtime.text(input.eos_token));
  if (input.variables_json.empty()) return variables;
  const jinja::Value more = jinja::parse_json(runtime, input.variables_json);
  if (!more.is_dict()) jinja::raise("expected a JSON object, found a {}", jinja::type_name(more));
  for (const auto& [name, value] : more.dict().items) variables.emplace_back(name.text(), value);
  return variables;
}

}  // namespace

ChatTemplate::ChatTemplate(std::string source, std::string origin)
    : origin_(std::move(origin)), template_(compile(source, origin_)) {}

std::string ChatTemplate::render(const ChatTemplateInput& input) const {
  jinja::Runtime runtime(input.limits, input.now);
  Variables variables;
  try {
    variables = make_variables(runtime, input);
  } catch (const jinja::Failure& failure) {
    fail(ErrorKind::kInvalidArgument, "the variables of a chat template: {}", failure.message);
  }
  try {
    return jinja::render(*template_, runtime, std::move(variables));
  } catch (const jinja::RenderError& error) {
    const std::string place = format("{}: chat template, line {}, column {}", origin_, error.at.line, error.at.column);
    if (error.failure.raised) {
      fail_with_hint(ErrorKind::kInvalidArgument, format("{}\n  raised by {}", printable(error.failure.message), place),
                     "the model's chat template refuses this conversation: change its messages");
    }
    fail_with_hint(ErrorKind::kBadFile, format("{}: {}", place, printable(error.failure.message)), kOtherTemplate);
  }
}

}  // namespace tandem
