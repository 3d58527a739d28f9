#include "tokenizer/gguf_tokenizer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/quote.h"
#include "tokenizer/split_patterns.h"
#include "tokenizer/tokenizer_parts.h"
#include "tokenizer/utf8.h"

namespace tandem {
namespace {

constexpr std::string_view kSpaceMark = "\u2581";

/// A splitting rule: each pattern cuts the words of the one before it.
struct PreRule {
  std::string_view name;
  std::vector<std::string_view> patterns;
  bool ignore_merges = false;
  bool add_bos = false;  ///< where the file does not say
  bool nfc = false;
};

const std::vector<PreRule>& pre_rules() {
  static const std::vector<std::string_view> kDefault = {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Pattern, R"(\p{N}+)",
                                                         "[0-9][0-9][0-9]"};
  static const std::vector<std::string_view> kDigitwise = {R"(\p{N})", kGpt2Pattern};
  static const std::vector<PreRule> kRules = {
      {.name = "default", .patterns = kDefault},
      {.name = "gpt-2", .patterns = {kGpt2Pattern}},
      {.name = "llama-bpe", .patterns = {kLlama3Pattern}, .ignore_merges = true, .add_bos = true},
      {.name = "llama3", .patterns = {kLlama3Pattern}, .ignore_merges = true, .add_bos = true},
      {.name = "llama-v3", .patterns = {kLlama3Pattern}, .ignore_merges = true, .add_bos = true},
      {.name = "qwen2", .patterns = {kQwen2Pattern}, .nfc = true},
      {.name = "smollm", .patterns = kDigitwise},
      {.name = "starcoder", .patterns = kDigitwise},
  };
  return kRules;
}

const PreRule& find_pre_rule(const std::string& name, std::string_view file) {
  std::string known;
  for (const PreRule& rule : pre_rules()) {
    if (rule.name == name) return rule;
    known.append(known.empty() ? "" : ", ").append(rule.name);
  }
  fail_with_hint(ErrorKind::kUnsupported, format("{}: tokenizer.ggml.pre: {} is not supported", file, quote(name)),
                 "supported: " + known);
}

std::optional<std::int32_t> check_id(std::optional<std::int64_t> id, std::string_view key, const Vocabulary& vocabulary,
                                     std::string_view file) {
  if (!id) return std::nullopt;
  if (!vocabulary.contains(*id)) {
    fail(ErrorKind::kBadFile, "{}: tokenizer.ggml.{}: {} is not an id of the vocabulary of {}", file, key, *id,
         vocabulary.size());
  }
  return static_cast<std::int32_t>(*id);
}

void check_size(std::size_t size, std::size_t wanted, std::string_view key, std::string_view file) {
  if (size != wanted) {
    fail(ErrorKind::kBadFile, "{}: tokenizer.ggml.{} has {} entries for {} tokens", file, key, size, wanted);
  }
}

class Builder {
 public:
  Builder(const GgufTokenizerData& data, std::string_view file) : data_(data), file_(file) {}

  TokenizerParts build() {
    read_tokens();
    bool add_bos = false;
    if (data_.model == "gpt2") {
      add_bos = build_gpt2();
    } else if (data_.model == "llama") {
      build_llama();
      add_bos = true;
    } else {
      fail_with_hint(ErrorKind::kUnsupported,
                     format("{}: tokenizer.ggml.model: {} is not supported", file_, quote(data_.model)),
                     "supported: gpt2, llama");
    }
    read_special_ids(add_bos);
    parts_.chat_template = data_.chat_template;
    cut_words_where_safe(parts_);
    return std::move(parts_);
  }

 private:
  GgufTokenType type_of(std::size_t id) const {
    return data_.token_types.empty() ? GgufTokenType::kNormal : static_cast<GgufTokenType>(data_.token_types[id]);
  }

  void read_tokens() {
    if (data_.tokens.empty()) fail(ErrorKind::kBadFile, "{}: tokenizer.ggml.tokens: the vocabulary is empty", file_);
    if (!data_.token_types.empty()) check_size(data_.token_types.size(), data_.tokens.size(), "token_type", file_);
    parts_.vocabulary.reserve(data_.tokens.size());
    std::vector<AddedToken> added;
    std::vector<std::string> contents;
    for (std::size_t id = 0; id < data_.tokens.size(); ++id) {
      const std::string& piece = data_.tokens[id];
      if (find_invalid_utf8(piece)) {
        fail(ErrorKind::kBadFile, "{}: tokenizer.ggml.tokens[{}] is not valid UTF-8", file_, id);
      }
      if (!parts_.vocabulary.add(piece, static_cast<std::int64_t>(id))) {
        fail(ErrorKind::kBadFile, "{}: tokenizer.ggml.tokens[{}]: {} has id {} already", file_, id, quote(piece),
             parts_.vocabulary.find(piece));
      }
      const GgufTokenType type = type_of(id);
      if (type < GgufTokenType::kNormal || type > GgufTokenType::kByte) {
        fail(ErrorKind::kBadFile, "{}: tokenizer.ggml.token_type[{}] is {}, expected 1 to 6", file_, id,
             static_cast<int>(type));
      }
      const bool special = type == GgufTokenType::kControl || type == GgufTokenType::kUnknown;
      if (special || type == GgufTokenType::kUserDefined) {
        added.push_back({.id = static_cast<std::int32_t>(id), .content = piece, .special = special});
        contents.push_back(piece);
      }
    }
    parts_.added_tokens = AddedTokens(std::move(added), contents);
  }

  /// Whether BOS is added where the file does not say.
  bool build_gpt2() {
    const PreRule& rule = find_pre_rule(data_.pre, file_);
    if (rule.nfc) parts_.normalizer = Normalizer({UnicodeForm::kNfc});
    std::vector<PreTokenizer::Step> steps;
    for (const std::string_view pattern : rule.patterns) {
      steps.emplace_back(SplitStep{Pattern(Regex(pattern, "tokenizer.ggml.pre")), SplitBehavior::kIsolated, false});
    }
    parts_.pre_tokenizer = PreTokenizer(std::move(steps));
    parts_.byte_level = true;
    MergeTable merges;
    merges.reserve(data_.merges.size());
    for (std::size_t rank = 0; rank < data_.merges.size(); ++rank) {
      const std::string& text = data_.merges[rank];
      const std::size_t space = std::min(text.find(' '), text.size());
      const std::string left = text.substr(0, space);
      const std::string right = text.substr(std::min(space + 1, text.size()));
      const std::int32_t ids[] = {parts_.vocabulary.find(left), parts_.vocabulary.find(right),
                                  parts_.vocabulary.find(left + right)};
      if (std::count(std::begin(ids), std::end(ids), Vocabulary::kUnknown) > 0) {
        fail(ErrorKind::kBadFile, "{}: tokenizer.ggml.merges[{}]: {} names a piece that is not in the vocabulary",
             file_, rank, quote(text));
      }
      merges.set(ids[0], ids[1], {static_cast<std::int32_t>(rank), ids[2]});
    }
    parts_.model = BpeModel(parts_.vocabulary, std::move(merges), {.ignore_merges = rule.ignore_merges});
    parts_.decoder = Decoder({ByteLevelDecode{}});
    return rule.add_bos;
  }

  void build_llama() {
    const bool space_prefix = data_.add_space_prefix.value_or(true);
    const std::string mark(kSpaceMark);
    std::vector<Normalizer::Step> steps;
    if (space_prefix) steps.push_back(PrependText{mark});
    steps.push_back(ReplaceText{Pattern(" "), mark});
    parts_.normalizer = Normalizer(std::move(steps));
    parts_.model = BpeModel(parts_.vocabulary, merges_from_scores(),
                            {.unk_id = check_id(data_.unknown_token_id, "unknown_token_id", parts_.vocabulary, file_),
                             .fuse_unk = true,
                             .byte_fallback = true});
    std::vector<Decoder::Step> decoder = {ReplaceDecode{Pattern(mark), " "}, ByteFallbackDecode{}, FuseDecode{}};
    if (space_prefix) decoder.push_back(StripDecode{" ", 1, 0});
    parts_.decoder = Decoder(std::move(decoder));
  }

  /// SentencePiece joins the neighbours whose text is the piece of the highest score (Kudo and Richardson,
  /// "SentencePiece", 2018; bpe_model.cc of that project). Said as merges: every way to cut a piece in two pieces,
  /// ranked by score.
  MergeTable merges_from_scores() const {
    const Vocabulary& vocabulary = parts_.vocabulary;
    check_size(data_.scores.size(), data_.tokens.size(), "scores", file_);
    std::vector<std::int32_t> by_score(data_.tokens.size());
    std::iota(by_score.begin(), by_score.end(), 0);
    for (const std::int32_t id : by_score) {
      if (std::isnan(data_.scores[id]))
        fail(ErrorKind::kBadFile, "{}: tokenizer.ggml.scores[{}] is not a number", file_, id);
    }
    const auto higher = [&](std::int32_t a, std::int32_t b) { return data_.scores[a] > data_.scores[b]; };
    std::stable_sort(by_score.begin(), by_score.end(), higher);
    MergeTable merges;
    std::int32_t rank = 0;
    for (std::size_t i = 0; i < by_score.size(); ++i) {
      const std::int32_t id = by_score[i];
      if (i > 0 && higher(by_score[i - 1], id)) ++rank;  // equal scores: the leftmost wins
      const GgufTokenType type = type_of(static_cast<std::size_t>(id));
      const bool mergeable =
          type == GgufTokenType::kNormal || type == GgufTokenType::kUserDefined || type == GgufTokenType::kUnused;
      if (!mergeable) continue;
      const std::string_view piece = vocabulary.piece(id);
      if (piece.size() > kMaxMergedPiece) {
        fail_with_hint(ErrorKind::kUnsupported,
                       format("{}: tokenizer.ggml.tokens[{}] has {} bytes; pieces of up to {} are supported", file_, id,
                              piece.size(), kMaxMergedPiece),
                       "use another model");
      }
      for (std::size_t cut = 0; !piece.empty() && (cut += utf8_length(piece.substr(cut))) < piece.size();) {
        const std::int32_t left = vocabulary.find(piece.substr(0, cut));
        const std::int32_t right = left < 0 ? left : vocabulary.find(piece.substr(cut));
        if (right >= 0) merges.set(left, right, {rank, id});
      }
    }
    return merges;
  }

  void read_special_ids(bool add_bos) {
    const auto id_of = [&](std::optional<std::int64_t> id, std::string_view key) {
      return check_id(id, key, parts_.vocabulary, file_);
    };
    parts_.bos_token_id = id_of(data_.bos_token_id, "bos_token_id");
    const auto add_eos_id = [&](std::optional<std::int32_t> id) {
      auto& ids = parts_.eos_token_ids;
      if (id && std::find(ids.begin(), ids.end(), *id) == ids.end()) ids.push_back(*id);
    };
    const auto eos = id_of(data_.eos_token_id, "eos_token_id");
    add_eos_id(eos);
    add_eos_id(id_of(data_.eot_token_id, "eot_token_id"));
    add_eos_id(id_of(data_.eom_token_id, "eom_token_id"));
    // Many files name only one of the tokens that end a turn; llama.cpp knows the others by their text, too.
    for (const std::string_view name :
         {"<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>"}) {
      const std::int32_t id = parts_.vocabulary.find(name);
      if (id >= 0 && type_of(static_cast<std::size_t>(id)) == GgufTokenType::kControl) add_eos_id(id);
    }
    if (data_.add_bos_token.value_or(add_bos) && parts_.bos_token_id) parts_.prefix_ids = {*parts_.bos_token_id};
    if (data_.add_eos_token.value_or(false) && eos) parts_.suffix_ids = {*eos};
  }

  /// The cost of a piece grows with the square of its length; SentencePiece's own limit is 16 characters by default.
  static constexpr std::size_t kMaxMergedPiece = 512;

  const GgufTokenizerData& data_;
  std::string_view file_;
  TokenizerParts parts_;
};

}  // namespace

std::shared_ptr<const Tokenizer> make_gguf_tokenizer(const GgufTokenizerData& data, std::string_view file) {
  return std::make_shared<const Tokenizer>(Builder(data, file).build());
}

}  // namespace tandem
