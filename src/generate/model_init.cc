#include "tandem/model_init.h"

#include <array>
#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "base/suggest.h"
#include "model/model_runtime.h"

namespace tandem::model_init {
namespace {

constexpr std::array<std::string_view, 7> kKeys = {"model_dir",   "devices", "tp_backend", "max_batch_size",
                                                   "max_seq_len", "cache",   "shbuf_size"};

[[noreturn]] void refuse(std::string_view key, const Json& value, const std::string& wanted) {
  fail_with_hint(ErrorKind::kInvalidArgument, format("init_from_dict: {} is {}", key, json_text(value)),
                 format("{} is {}", key, wanted));
}

std::string text(std::string_view key, const Json& value) {
  if (!value.is_string()) refuse(key, value, "a text");
  return value.get<std::string>();
}

std::int64_t count(std::string_view key, const Json& value, std::int64_t most) {
  const std::string wanted = format("a whole number from 1 to {}", most);
  if (!value.is_number_integer()) refuse(key, value, wanted);
  // A JSON number above the signed range is held unsigned.
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(most)) {
    refuse(key, value, wanted);
  }
  const auto number = value.get<std::int64_t>();
  if (number < 1 || number > most) refuse(key, value, wanted);
  return number;
}

std::vector<std::string> device_names(const Json& value) {
  const std::string wanted = "a list of numbers (of GPUs) or texts (\"cpu\", \"cpu:1\")";
  if (!value.is_array()) refuse("devices", value, wanted);
  std::vector<std::string> names;
  for (const Json& device : value) {
    if (device.is_string()) {
      names.push_back(device.get<std::string>());
    } else if (device.is_number_unsigned()) {
      names.push_back(format("{}", device.get<std::uint64_t>()));
    } else {
      refuse("devices", value, wanted);
    }
  }
  return names;
}

}  // namespace

Loaded init_from_dict(std::string_view dict) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  const Json json = parse_json(dict, "init_from_dict");
  if (!json.is_object()) refuse("the dictionary", json, "a JSON object");
  ModelOptions options;
  std::int64_t cache_tokens = 0;
  for (const auto& [key, value] : json.items()) {
    if (key == "model_dir") {
      options.model_dir = text(key, value);
    } else if (key == "devices") {
      options.devices = device_names(value);
    } else if (key == "tp_backend") {
      options.tp_backend = text(key, value);
    } else if (key == "max_batch_size") {
      options.max_batch_size = static_cast<int>(count(key, value, std::numeric_limits<int>::max()));
    } else if (key == "max_seq_len") {
      options.max_seq_len = count(key, value, kMost);
    } else if (key == "cache") {
      if (value.is_boolean() && !value.get<bool>()) refuse(key, value, "true, or a number of tokens");
      if (!value.is_boolean()) cache_tokens = count(key, value, kMost);
    } else if (key == "shbuf_size") {
      options.shbuf_size = count(key, value, kMost);
    } else {
      fail_with_hint(ErrorKind::kInvalidArgument, format("init_from_dict: there is no key \"{}\"", key),
                     suggest(key, kKeys));
    }
  }
  if (options.model_dir.empty()) {
    fail_with_hint(ErrorKind::kInvalidArgument, "init_from_dict: model_dir is missing",
                   "give the model's folder, its .gguf file, or dummy:NAME");
  }
  // The tokenizer before the weights are read, so that what is wrong with it is told at once.
  OpenedModel opened = open_model(options.model_dir);
  auto tokenizer = Tokenizer::load(options.model_dir, opened.config.vocab_size);
  auto model = std::make_shared<Model>(std::make_unique<ModelRuntime>(std::move(opened), options));
  auto cache = std::make_shared<Cache>(model, cache_tokens);
  return {std::move(model), std::move(cache), std::move(tokenizer)};
}

}  // namespace tandem::model_init
