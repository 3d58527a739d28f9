#include "tokenizer/tokenizer_json.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/quote.h"
#include "tokenizer/json_reader.h"
#include "tokenizer/split_patterns.h"
#include "tokenizer/utf8.h"

namespace tandem {
namespace {

const std::string& type_of(const JsonField& field) {
  return field.at("type").string();
}

/// Calls `visit` for a component, or for the parts of a Sequence of them in order.
template <class Visit>
void for_each_component(const JsonField& field, const std::string& list_key, const Visit& visit) {
  if (type_of(field) != "Sequence") return visit(field);
  const JsonField list = field.at(list_key);
  for (std::size_t i = 0; i < list.size(); ++i) for_each_component(list[i], list_key, visit);
}

Pattern read_pattern(const JsonField& field) {
  if (const auto literal = field.find("String")) return Pattern(literal->string());
  const JsonField regex = field.at("Regex");
  return Pattern(Regex(regex.string(), regex.place()));
}

/// A string of exactly one character.
std::string read_character(const JsonField& field) {
  const std::string& text = field.string();
  field.require(!text.empty() && utf8_length(text) == text.size(), "one character");
  return text;
}

// --- vocabulary and model ---------------------------------------------------------------------------------------

void read_vocabulary(const JsonField& field, Vocabulary& vocabulary) {
  field.require(field.value().is_object(), "an object");
  std::vector<std::pair<std::int64_t, const std::string*>> entries;
  entries.reserve(field.value().size());
  for (auto entry = field.value().begin(); entry != field.value().end(); ++entry) {
    const Json& id = entry.value();
    if (!id.is_number_integer() || id < 0) {
      fail(ErrorKind::kBadFile, "{}: the id of piece {} is {}, expected an integer from 0", field.place(),
           quote(entry.key()), json_ascii(id).substr(0, 80));
    }
    entries.emplace_back(id.is_number_unsigned() && id > INT64_MAX ? INT64_MAX : id.get<std::int64_t>(), &entry.key());
  }
  // By id, so that a gap is seen as one and memory is spent only on ids that are there.
  std::sort(entries.begin(), entries.end());
  vocabulary.reserve(entries.size());
  for (const auto& [id, piece] : entries) {
    if (vocabulary.contains(id)) {
      fail(ErrorKind::kBadFile, "{}: pieces {} and {} both have id {}", field.place(),
           quote(vocabulary.piece(static_cast<std::int32_t>(id))), quote(*piece), id);
    }
    if (!vocabulary.add(*piece, id)) {
      fail(ErrorKind::kBadFile, "{}: piece {} has id {}, but there are only {} ids: too many are unused", field.place(),
           quote(*piece), id, entries.size());
    }
  }
}

MergeTable read_merges(const JsonField& field, const Vocabulary& vocabulary) {
  MergeTable merges;
  merges.reserve(field.size());
  std::string merged;
  for (std::size_t rank = 0; rank < field.size(); ++rank) {
    const Json& entry = field.value()[rank];
    std::string_view left;
    std::string_view right;
    if (entry.is_string()) {
      const std::string_view text = *entry.get_ptr<const std::string*>();
      const std::size_t space = text.find(' ');
      field[rank].require(space != text.npos && text.find(' ', space + 1) == text.npos,
                          "two pieces and a space between");
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else {
      const bool is_pair = entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string();
      field[rank].require(is_pair, "a pair of pieces");
      left = *entry[0].get_ptr<const std::string*>();
      right = *entry[1].get_ptr<const std::string*>();
    }
    merged.assign(left).append(right);
    const auto id_of = [&](std::string_view piece) {
      const std::int32_t id = vocabulary.find(piece);
      if (id == Vocabulary::kUnknown) {
        fail(ErrorKind::kBadFile, "{}: {} + {} needs the piece {}, which is not in the vocabulary", field[rank].place(),
             quote(left), quote(right), quote(piece));
      }
      return id;
    };
    const std::int32_t left_id = id_of(left);
    const std::int32_t right_id = id_of(right);
    merges.set(left_id, right_id, {static_cast<std::int32_t>(rank), id_of(merged)});
  }
  return merges;
}

void refuse_unless_empty(const JsonField& model, const std::string& key) {
  const auto field = model.find(key);
  if (field && !field->string().empty()) field->refuse("");
}

void read_model(const JsonField& model, TokenizerParts& parts) {
  // Files older than 2020 name no type.
  if (const auto type = model.find("type"); type && type->string() != "BPE") type->refuse("only BPE is");
  if (const auto dropout = model.find("dropout"); dropout && dropout->value() != 0) {
    dropout->refuse("encoding must not be random");
  }
  refuse_unless_empty(model, "continuing_subword_prefix");
  refuse_unless_empty(model, "end_of_word_suffix");
  read_vocabulary(model.at("vocab"), parts.vocabulary);
  BpeRules rules{.fuse_unk = model.boolean_or("fuse_unk", false),
                 .byte_fallback = model.boolean_or("byte_fallback", false),
                 .ignore_merges = model.boolean_or("ignore_merges", false)};
  if (const auto unk = model.find("unk_token"); unk && !unk->string().empty()) {
    rules.unk_id = parts.vocabulary.find(unk->string());
    unk->require(*rules.unk_id != Vocabulary::kUnknown, "a piece of the vocabulary");
  }
  parts.model = BpeModel(parts.vocabulary, read_merges(model.at("merges"), parts.vocabulary), rules);
}

// --- normalizer, pre-tokenizer, decoder -------------------------------------------------------------------------

Normalizer read_normalizer(const JsonField& field) {
  std::vector<Normalizer::Step> steps;
  for_each_component(field, "normalizers", [&](const JsonField& one) {
    const std::string& type = type_of(one);
    if (type == "NFC") {
      steps.push_back(UnicodeForm::kNfc);
    } else if (type == "NFD") {
      steps.push_back(UnicodeForm::kNfd);
    } else if (type == "NFKC") {
      steps.push_back(UnicodeForm::kNfkc);
    } else if (type == "NFKD") {
      steps.push_back(UnicodeForm::kNfkd);
    } else if (type == "Replace") {
      steps.push_back(ReplaceText{read_pattern(one.at("pattern")), one.at("content").string()});
    } else if (type == "Prepend") {
      steps.push_back(PrependText{one.at("prepend").string()});
    } else if (type == "Strip") {
      steps.push_back(StripText{one.at("strip_left").boolean(), one.at("strip_right").boolean()});
    } else {
      one.at("type").refuse("normalizers are NFC, NFD, NFKC, NFKD, Replace, Prepend, Strip and Sequence");
    }
  });
  return Normalizer(std::move(steps));
}

SplitBehavior read_behavior(const JsonField& field) {
  const std::string& name = field.string();
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  field.refuse("");
}

SplitStep split_at(std::string_view pattern, SplitBehavior behavior, std::string_view origin) {
  return {Pattern(Regex(pattern, origin)), behavior, false};
}

/// Whether the component puts a prefix before the text. Old files say add_prefix_space, and mean always.
MetaspaceStep::Prepend read_prepend_scheme(const JsonField& field) {
  using Prepend = MetaspaceStep::Prepend;
  const auto scheme = field.find("prepend_scheme");
  if (!scheme) return field.boolean_or("add_prefix_space", true) ? Prepend::kAlways : Prepend::kNever;
  if (scheme->string() == "always") return Prepend::kAlways;
  if (scheme->string() == "first") return Prepend::kFirst;
  if (scheme->string() == "never") return Prepend::kNever;
  scheme->refuse("");
}

void read_pre_tokenizer(const JsonField& field, TokenizerParts& parts) {
  std::vector<PreTokenizer::Step> steps;
  for_each_component(field, "pretokenizers", [&](const JsonField& one) {
    const std::string& type = type_of(one);
    if (parts.byte_level) one.at("type").refuse("nothing may follow ByteLevel");
    if (type == "ByteLevel") {
      parts.byte_level = true;
      if (one.boolean_or("add_prefix_space", true)) steps.push_back(PrefixSpaceStep{});
      if (one.boolean_or("use_regex", true)) {
        steps.push_back(split_at(kGpt2Pattern, SplitBehavior::kIsolated, one.place()));
      }
    } else if (type == "Split") {
      steps.push_back(SplitStep{read_pattern(one.at("pattern")), read_behavior(one.at("behavior")),
                                one.boolean_or("invert", false)});
    } else if (type == "Digits") {
      const bool individual = one.boolean_or("individual_digits", false);
      steps.push_back(split_at(individual ? R"(\p{N})" : R"(\p{N}+)", SplitBehavior::kIsolated, one.place()));
    } else if (type == "Punctuation") {
      const auto behavior = one.find("behavior");
      steps.push_back(
          split_at(R"([\p{P}$+<=>^`|~])", behavior ? read_behavior(*behavior) : SplitBehavior::kIsolated, one.place()));
    } else if (type == "Whitespace") {
      SplitStep step = split_at(kWordPattern, SplitBehavior::kRemoved, one.place());
      step.invert = true;
      steps.push_back(std::move(step));
    } else if (type == "WhitespaceSplit") {
      steps.push_back(split_at(R"(\s)", SplitBehavior::kRemoved, one.place()));
    } else if (type == "Metaspace") {
      steps.push_back(MetaspaceStep{read_character(one.at("replacement")), read_prepend_scheme(one),
                                    one.boolean_or("split", true)});
    } else {
      one.at("type").refuse(
          "pre-tokenizers are ByteLevel, Split, Digits, Punctuation, Whitespace, WhitespaceSplit, Metaspace and "
          "Sequence");
    }
  });
  parts.pre_tokenizer = PreTokenizer(std::move(steps));
}

std::size_t read_count(const JsonField& field) {
  field.require(field.integer() >= 0, "a number from 0");
  return static_cast<std::size_t>(field.integer());
}

Decoder read_decoder(const JsonField& field) {
  std::vector<Decoder::Step> steps;
  for_each_component(field, "decoders", [&](const JsonField& one) {
    const std::string& type = type_of(one);
    Decoder::Step step;
    if (type == "ByteLevel") {
      step = ByteLevelDecode{};
    } else if (type == "ByteFallback") {
      step = ByteFallbackDecode{};
    } else if (type == "Fuse") {
      step = FuseDecode{};
    } else if (type == "Replace") {
      step = ReplaceDecode{read_pattern(one.at("pattern")), one.at("content").string()};
    } else if (type == "Strip") {
      step = StripDecode{read_character(one.at("content")), read_count(one.at("start")), read_count(one.at("stop"))};
    } else if (type == "Metaspace") {
      step = MetaspaceDecode{read_character(one.at("replacement")),
                             read_prepend_scheme(one) != MetaspaceStep::Prepend::kNever};
    } else {
      one.at("type").refuse("decoders are ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace and Sequence");
    }
    if (std::any_of(steps.begin(), steps.end(), Decoder::joins) && !Decoder::can_follow_joined(step)) {
      one.at("type").refuse("only Strip at the start may follow ByteLevel or Fuse");
    }
    steps.push_back(std::move(step));
  });
  return Decoder(std::move(steps));
}

// --- added tokens and post-processor ----------------------------------------------------------------------------

void read_added_tokens(const JsonField& list, TokenizerParts& parts) {
  std::vector<AddedToken> tokens;
  std::vector<std::string> normalized;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const JsonField one = list[i];
    const JsonField id = one.at("id");
    const std::string& content = one.at("content").string();
    one.at("content").require(!content.empty(), "a token that is not empty");
    const std::int32_t known = parts.vocabulary.find(content);
    if (known != Vocabulary::kUnknown && known != id.integer()) {
      fail(ErrorKind::kBadFile, "{} is {}, but {} has id {} already", id.place(), id.integer(), quote(content), known);
    }
    if (known == Vocabulary::kUnknown && !parts.vocabulary.add(content, id.integer())) {
      fail(ErrorKind::kBadFile, "{}: {} cannot have id {}: it is taken or out of range (ids in use: below {})",
           id.place(), quote(content), id.integer(), parts.vocabulary.size());
    }
    tokens.push_back({.id = static_cast<std::int32_t>(id.integer()),
                      .content = content,
                      .single_word = one.boolean_or("single_word", false),
                      .lstrip = one.boolean_or("lstrip", false),
                      .rstrip = one.boolean_or("rstrip", false),
                      .normalized = one.boolean_or("normalized", false),
                      .special = one.boolean_or("special", false)});
    normalized.push_back(tokens.back().normalized ? parts.normalizer.normalize(content) : content);
  }
  parts.added_tokens = AddedTokens(std::move(tokens), normalized);
}

void append_special_token(const JsonField& special_tokens, const JsonField& token, const Vocabulary& vocabulary,
                          std::vector<std::int32_t>& ids) {
  const JsonField list = special_tokens.at(token.at("id").string()).at("ids");
  for (std::size_t i = 0; i < list.size(); ++i) {
    list[i].require(vocabulary.contains(list[i].integer()), "an id of the vocabulary");
    ids.push_back(static_cast<std::int32_t>(list[i].integer()));
  }
}

void read_post_processor(const JsonField& field, TokenizerParts& parts) {
  bool has_template = false;
  for_each_component(field, "processors", [&](const JsonField& one) {
    const std::string& type = type_of(one);
    if (type == "ByteLevel") return;  // adjusts offsets only
    if (type != "TemplateProcessing")
      one.at("type").refuse("post-processors are TemplateProcessing, ByteLevel and Sequence");
    if (std::exchange(has_template, true)) one.at("type").refuse("a second one");
    const JsonField items = one.at("single");
    bool seen_text = false;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (items[i].find("Sequence")) {
        items[i].require(!std::exchange(seen_text, true), "the text only once");
      } else {
        append_special_token(one.at("special_tokens"), items[i].at("SpecialToken"), parts.vocabulary,
                             seen_text ? parts.suffix_ids : parts.prefix_ids);
      }
    }
    items.require(seen_text, "a template that holds the text");
  });
}

}  // namespace

TokenizerParts parse_tokenizer_json(std::string_view text, std::string_view file) {
  const Json json = parse_json(text, file);
  const JsonField root(json, std::string(file));
  TokenizerParts parts;
  read_model(root.at("model"), parts);
  if (const auto field = root.find("normalizer")) parts.normalizer = read_normalizer(*field);
  if (const auto field = root.find("pre_tokenizer")) read_pre_tokenizer(*field, parts);
  if (const auto field = root.find("added_tokens")) read_added_tokens(*field, parts);
  if (const auto field = root.find("post_processor")) read_post_processor(*field, parts);
  if (const auto field = root.find("decoder")) {
    parts.decoder = read_decoder(*field);
  } else {
    parts.decoder = Decoder({JoinWithSpaces{}});
  }
  if (parts.vocabulary.size() == 0) fail(ErrorKind::kBadFile, "{}: model.vocab: the vocabulary is empty", file);
  cut_words_where_safe(parts);
  return parts;
}

}  // namespace tandem
