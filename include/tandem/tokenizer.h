#pragma once
// Text to token ids and back, without Python: byte-pair encoding as tokenizer.json files and GGUF files describe it.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tandem {

struct EncodeOptions {
  /// Adds what the model's own files put around a text: BOS for Llama, nothing for Qwen.
  bool add_special_tokens = false;
  /// Puts BOS first unless the ids start with it already. Nothing happens for a tokenizer without BOS.
  bool add_bos = false;
  /// Special tokens written out in the text ("<|im_start|>") become their ids. Turn off for text from users that must
  /// not steer the model; they are then encoded as ordinary characters.
  bool parse_special_tokens = true;
};

struct DecodeOptions {
  /// Leaves special tokens (BOS, end of text, roles) out of the text.
  bool skip_special_tokens = true;
};

struct TokenizerParts;  // internal

/// A model's tokenizer. Immutable: any thread may call any function at any time.
class Tokenizer {
 public:
  /// The tokenizer of a model as Model::load names it: from_folder() of a folder, the one inside a GGUF file, or
  /// dummy() of `vocab_size` for dummy:NAME. Only the last looks at `vocab_size`, and throws kInvalidArgument without
  /// one, or for one above 2^31 - 1.
  static std::shared_ptr<const Tokenizer> load(const std::string& model, std::int64_t vocab_size = 0);
  /// For random weights, which have none: a token a byte, then " w256", " w257" and so on.
  static std::shared_ptr<const Tokenizer> dummy(std::int32_t vocab_size);

  /// Reads tokenizer.json, and where they exist tokenizer_config.json, special_tokens_map.json, chat_template.jinja,
  /// generation_config.json and config.json of a model folder. Throws kNotFound, kUnreadable, kBadFile or kUnsupported,
  /// naming file, field and value.
  static std::shared_ptr<const Tokenizer> from_folder(const std::filesystem::path& folder);

  /// Internal: from_folder and the GGUF reader come through here.
  explicit Tokenizer(TokenizerParts parts);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// The ids of `text`. Throws kInvalidArgument with the byte offset when the text is not UTF-8.
  std::vector<std::int32_t> encode(std::string_view text, EncodeOptions options = {}) const;

  /// The text of `ids`. Bytes that form no UTF-8 character become U+FFFD. Ids the tokenizer does not know, such as the
  /// padding rows of a model's vocabulary, stand for no text.
  std::string decode(std::span<const std::int32_t> ids, DecodeOptions options = {}) const;

  /// The vocabulary's own spelling of a token, e.g. "Ġthe" or "▁the". Throws kInvalidArgument for an unknown id.
  std::string_view id_to_piece(std::int32_t id) const;
  std::optional<std::int32_t> piece_to_id(std::string_view piece) const;

  /// One more than the highest id. A model's vocab_size may be larger (padding), never smaller.
  std::int32_t vocab_size() const;
  std::optional<std::int32_t> bos_token_id() const;
  /// Every id that ends a text; may be empty. Where the tokenizer itself names one (`eos_token`), it comes first.
  const std::vector<std::int32_t>& eos_token_ids() const;
  /// Whether DecodeOptions::skip_special_tokens leaves this id out.
  bool is_special(std::int32_t id) const;
  /// Source text of the model's chat template (Jinja), empty when it has none.
  const std::string& chat_template() const;

 private:
  friend class StreamDecoder;
  std::unique_ptr<const TokenizerParts> parts_;
};

/// Decodes ids one at a time. The results of every push() and the flush(), joined, equal Tokenizer::decode() of all
/// ids; no result ends inside a character. One thread at a time.
class StreamDecoder {
 public:
  explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, DecodeOptions options = {});
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  /// The text that is certain after this id; empty while a character is incomplete.
  std::string push(std::int32_t id);
  /// What was held back (U+FFFD for an incomplete character). The decoder is then as new.
  std::string flush();

 private:
  struct State;
  std::shared_ptr<const Tokenizer> tokenizer_;
  DecodeOptions options_;
  std::unique_ptr<State> state_;
};

}  // namespace tandem
