// A tokenizer from a model folder: tokenizer.json, and what the files around it say about special tokens.

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "base/mapped_file.h"
#include "tokenizer/json_reader.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/utf8.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;

/// The files of a folder that say something about special tokens; an absent one is null.
struct FolderFiles {
  Json tokenizer_config;
  Json special_tokens_map;
  Json generation_config;
  Json config;
};

Json read_if_there(const fs::path& path) {
  return file_exists(path) ? read_json_file(path) : Json();
}

/// "bos_token": "<s>" or {"content": "<s>"}.
std::optional<std::int32_t> read_named_token(const Json& json, const fs::path& path, const std::string& key,
                                             const Vocabulary& vocabulary) {
  if (json.is_null()) return std::nullopt;
  const auto field = JsonField(json, path.string()).find(key);
  if (!field) return std::nullopt;
  const JsonField name = field->value().is_object() ? field->at("content") : *field;
  const std::int32_t id = vocabulary.find(name.string());
  name.require(id != Vocabulary::kUnknown, "a token of tokenizer.json");
  return id;
}

/// "eos_token_id": 2 or [2, 7].
std::vector<std::int32_t> read_ids(const Json& json, const fs::path& path, const std::string& key,
                                   const Vocabulary& vocabulary) {
  std::vector<std::int32_t> ids;
  if (json.is_null()) return ids;
  const auto field = JsonField(json, path.string()).find(key);
  if (!field) return ids;
  const auto add = [&](const JsonField& one) {
    one.require(vocabulary.contains(one.integer()), "an id of tokenizer.json");
    ids.push_back(static_cast<std::int32_t>(one.integer()));
  };
  if (field->value().is_array()) {
    for (std::size_t i = 0; i < field->size(); ++i) add((*field)[i]);
  } else {
    add(*field);
  }
  return ids;
}

void read_special_tokens(const FolderFiles& files, const fs::path& folder, TokenizerParts& parts) {
  const auto named = [&](const std::string& key) {
    auto id = read_named_token(files.tokenizer_config, folder / "tokenizer_config.json", key, parts.vocabulary);
    if (!id) id = read_named_token(files.special_tokens_map, folder / "special_tokens_map.json", key, parts.vocabulary);
    return id;
  };
  // generation_config.json is the model's own word; config.json speaks where it is silent.
  const auto ids = [&](const std::string& key) {
    auto found = read_ids(files.generation_config, folder / "generation_config.json", key, parts.vocabulary);
    if (found.empty()) found = read_ids(files.config, folder / "config.json", key, parts.vocabulary);
    return found;
  };
  parts.bos_token_id = named("bos_token");
  // A tokenizer_config.json without bos_token means none (Qwen), whatever config.json says.
  if (const auto bos = ids("bos_token_id"); !bos.empty() && files.tokenizer_config.is_null() && !parts.bos_token_id) {
    parts.bos_token_id = bos.front();
  }
  if (const auto eos = named("eos_token")) parts.eos_token_ids.push_back(*eos);
  for (const std::int32_t id : ids("eos_token_id")) {
    auto& known = parts.eos_token_ids;
    if (std::find(known.begin(), known.end(), id) == known.end()) known.push_back(id);
  }
}

/// add_bos_token and add_eos_token of tokenizer_config.json override the post-processor.
void read_add_flags(const JsonField& config, TokenizerParts& parts) {
  const auto apply = [&](const std::string& key, std::optional<std::int32_t> id, std::vector<std::int32_t>& ids) {
    const auto flag = config.find(key);
    if (!flag || !id) return;
    std::erase(ids, *id);
    if (flag->boolean()) ids.insert(ids.begin(), *id);
  };
  apply("add_bos_token", parts.bos_token_id, parts.prefix_ids);
  const auto eos = parts.eos_token_ids.empty() ? std::nullopt : std::optional(parts.eos_token_ids.front());
  apply("add_eos_token", eos, parts.suffix_ids);
}

/// The template, or of several the one called "default".
std::string read_chat_template(const JsonField& config) {
  const auto field = config.find("chat_template");
  if (!field) return {};
  if (field->value().is_string()) return field->string();
  field->require(field->size() > 0, "a template or a list of them");
  for (std::size_t i = 0; i < field->size(); ++i) {
    if ((*field)[i].at("name").string() == "default") return (*field)[i].at("template").string();
  }
  return (*field)[0].at("template").string();
}

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::from_folder(const fs::path& folder) {
  const fs::path path = folder / "tokenizer.json";
  if (!file_exists(path)) {
    fail_with_hint(ErrorKind::kNotFound, format("{} does not exist", path.string()),
                   "tokenizer.model and vocab.txt alone are not read: take the tokenizer.json of the same model");
  }
  const MappedFile file(path);
  TokenizerParts parts =
      parse_tokenizer_json({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, path.string());
  const FolderFiles files = {
      .tokenizer_config = read_if_there(folder / "tokenizer_config.json"),
      .special_tokens_map = read_if_there(folder / "special_tokens_map.json"),
      .generation_config = read_if_there(folder / "generation_config.json"),
      .config = read_if_there(folder / "config.json"),
  };
  read_special_tokens(files, folder, parts);
  if (!files.tokenizer_config.is_null()) {
    const JsonField config(files.tokenizer_config, (folder / "tokenizer_config.json").string());
    read_add_flags(config, parts);
    parts.chat_template = read_chat_template(config);
  }
  const fs::path template_path = folder / "chat_template.jinja";
  if (file_exists(template_path)) {
    parts.chat_template = read_text_file(template_path);
    if (const auto offset = find_invalid_utf8(parts.chat_template)) {
      fail(ErrorKind::kBadFile, "{}: not valid UTF-8 at byte {}", template_path.string(), *offset);
    }
  }
  return std::make_shared<const Tokenizer>(std::move(parts));
}

}  // namespace tandem
