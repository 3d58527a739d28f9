#include "tandem/tokenizer.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "base/error.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/tokenizer_parts.h"
#include "tokenizer/utf8.h"

namespace tandem {
namespace {

/// Words already encoded by this call. A text repeats its words, and the ids of a word are found again in the output.
/// One slot a hash: a newer word replaces an older one.
class WordCache {
 public:
  explicit WordCache(std::size_t text_bytes)
      : slots_(std::bit_ceil(std::clamp<std::size_t>(text_bytes / 8, 64, 16384))) {}

  struct Slot {
    std::string_view word;
    std::size_t begin = 0;  // its ids in the output
    std::size_t count = 0;
  };
  Slot& slot(std::string_view word) { return slots_[std::hash<std::string_view>()(word) & (slots_.size() - 1)]; }

 private:
  std::vector<Slot> slots_;
};

class Encoder {
 public:
  Encoder(const TokenizerParts& parts, std::string_view text) : parts_(parts), text_(text), cache_(text.size()) {}

  std::vector<std::int32_t> encode(bool parse_special) {
    for (const AddedTokens::Part& raw : parts_.added_tokens.split(text_, false, parse_special)) {
      if (raw.id >= 0) {
        ids_.push_back(raw.id);
        continue;
      }
      const bool at_start = raw.text.data() == text_.data();
      std::string_view text = raw.text;
      if (!parts_.normalizer.is_identity()) text = arena_.emplace_back(parts_.normalizer.normalize(raw.text));
      for (const AddedTokens::Part& part : parts_.added_tokens.split(text, true, parse_special)) {
        if (part.id >= 0) {
          ids_.push_back(part.id);
        } else {
          encode_plain({part.text, at_start && part.text.data() == text.data()});
        }
      }
    }
    return std::move(ids_);
  }

 private:
  void encode_plain(PreTokenizer::Word text) {
    for (const PreTokenizer::Word& word : parts_.pre_tokenizer.split(text, arena_)) {
      WordCache::Slot& slot = cache_.slot(word.text);
      if (slot.word == word.text) {
        ids_.resize(ids_.size() + slot.count);
        std::copy_n(ids_.begin() + static_cast<std::ptrdiff_t>(slot.begin), slot.count,
                    ids_.end() - static_cast<std::ptrdiff_t>(slot.count));
        continue;
      }
      const std::size_t begin = ids_.size();
      if (parts_.byte_level) {
        parts_.model.encode(parts_.vocabulary, bytes_to_characters(word.text), scratch_, ids_);
      } else {
        parts_.model.encode(parts_.vocabulary, word.text, scratch_, ids_);
      }
      slot = {word.text, begin, ids_.size() - begin};
    }
  }

  const TokenizerParts& parts_;
  std::string_view text_;
  PreTokenizer::Arena arena_;  // cached words point into it
  WordCache cache_;
  BpeModel::Scratch scratch_;
  std::vector<std::int32_t> ids_;
};

void push_id(const TokenizerParts& parts, std::int32_t id, DecodeOptions options, DecoderStream& stream,
             std::string& out) {
  if (!parts.vocabulary.contains(id)) return;
  if (options.skip_special_tokens && parts.added_tokens.is_special(id)) return;
  const std::string* added = parts.added_tokens.decoded(id);
  stream.push(added ? *added : parts.vocabulary.piece(id), out);
}

}  // namespace

void cut_words_where_safe(TokenizerParts& parts) {
  static constexpr std::string_view kMark = "\u2581";
  const Vocabulary& vocabulary = parts.vocabulary;
  // A word that is looked up whole must stay whole, and the mark must never be an unknown character.
  if (parts.byte_level || parts.model.ignore_merges() || vocabulary.find(kMark) == Vocabulary::kUnknown) return;
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    if (!vocabulary.contains(id)) continue;
    std::string_view piece = vocabulary.piece(id);
    while (piece.starts_with(kMark)) piece.remove_prefix(kMark.size());
    if (piece.find(kMark) != std::string_view::npos) return;
  }
  parts.pre_tokenizer.append(CutBeforeRunStep{std::string(kMark)});
}

Tokenizer::Tokenizer(TokenizerParts parts) : parts_(std::make_unique<const TokenizerParts>(std::move(parts))) {}
Tokenizer::~Tokenizer() = default;

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  if (text.size() > kMaxTextBytes) {
    fail(ErrorKind::kInvalidArgument, "text of {} bytes is longer than {} bytes", text.size(), kMaxTextBytes);
  }
  if (const auto offset = find_invalid_utf8(text)) {
    fail_with_hint(ErrorKind::kInvalidArgument,
                   format("text is not valid UTF-8: byte 0x{:02x} at offset {} of {}",
                          static_cast<unsigned char>(text[*offset]), *offset, text.size()),
                   "convert the text to UTF-8 first");
  }
  std::vector<std::int32_t> ids = Encoder(*parts_, text).encode(options.parse_special_tokens);
  if (options.add_special_tokens) {
    ids.insert(ids.begin(), parts_->prefix_ids.begin(), parts_->prefix_ids.end());
    ids.insert(ids.end(), parts_->suffix_ids.begin(), parts_->suffix_ids.end());
  }
  const auto bos = parts_->bos_token_id;
  if (options.add_bos && bos && (ids.empty() || ids.front() != *bos)) ids.insert(ids.begin(), *bos);
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, DecodeOptions options) const {
  DecoderStream stream(parts_->decoder);
  std::string text;
  for (const std::int32_t id : ids) {
    push_id(*parts_, id, options, stream, text);
  }
  stream.flush(text);
  return text;
}

std::string_view Tokenizer::id_to_piece(std::int32_t id) const {
  if (!parts_->vocabulary.contains(id)) {
    fail(ErrorKind::kInvalidArgument, "token id {} is not in the vocabulary (ids 0 to {})", id, vocab_size() - 1);
  }
  return parts_->vocabulary.piece(id);
}

std::optional<std::int32_t> Tokenizer::piece_to_id(std::string_view piece) const {
  const std::int32_t id = parts_->vocabulary.find(piece);
  return id == Vocabulary::kUnknown ? std::nullopt : std::optional(id);
}

std::int32_t Tokenizer::vocab_size() const {
  return parts_->vocabulary.size();
}

std::optional<std::int32_t> Tokenizer::bos_token_id() const {
  return parts_->bos_token_id;
}

const std::vector<std::int32_t>& Tokenizer::eos_token_ids() const {
  return parts_->eos_token_ids;
}

bool Tokenizer::is_special(std::int32_t id) const {
  return parts_->added_tokens.is_special(id);
}

const std::string& Tokenizer::chat_template() const {
  return parts_->chat_template;
}

struct StreamDecoder::State {
  DecoderStream stream;
};

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, DecodeOptions options)
    : tokenizer_(std::move(tokenizer)),
      options_(options),
      state_(std::make_unique<State>(State{DecoderStream(tokenizer_->parts_->decoder)})) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(std::int32_t id) {
  std::string text;
  push_id(*tokenizer_->parts_, id, options_, state_->stream, text);
  return text;
}

std::string StreamDecoder::flush() {
  std::string text;
  state_->stream.flush(text);
  return text;
}

}  // namespace tandem
