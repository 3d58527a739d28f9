#include "tokenizer/pre_tokenizer.h"

#include "tokenizer/utf8.h"

namespace tandem {
namespace {

using Word = PreTokenizer::Word;

/// A stretch of text between or inside the matches of a pattern.
struct Part {
  TextRange range;
  bool is_match;
};

std::vector<Part> parts_of(std::string_view text, const SplitStep& step) {
  std::vector<Part> parts;
  std::size_t done = 0;
  while (const auto found = step.pattern.find(text, done)) {
    if (found->begin > done) parts.push_back({{done, found->begin}, step.invert});
    parts.push_back({*found, !step.invert});
    done = found->end;
  }
  if (done < text.size()) parts.push_back({{done, text.size()}, step.invert});
  return parts;
}

/// Joins the parts that `behavior` keeps together: each of the result is one word.
std::vector<TextRange> join(const std::vector<Part>& parts, SplitBehavior behavior) {
  std::vector<TextRange> words;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto [range, is_match] = parts[i];
    bool with_previous = false;
    switch (behavior) {
      case SplitBehavior::kRemoved:
        if (is_match) continue;
        break;
      case SplitBehavior::kIsolated:
        break;
      case SplitBehavior::kContiguous:
        with_previous = i > 0 && is_match == parts[i - 1].is_match;
        break;
      case SplitBehavior::kMergedWithPrevious:
        with_previous = i > 0 && is_match && !parts[i - 1].is_match;
        break;
      case SplitBehavior::kMergedWithNext:
        with_previous = i > 0 && !is_match && parts[i - 1].is_match;
        break;
    }
    if (with_previous) {
      words.back().end = range.end;
    } else {
      words.push_back(range);
    }
  }
  return words;
}

void apply(const SplitStep& step, const Word& word, PreTokenizer::Arena&, std::vector<Word>& out) {
  const auto emit = [&](TextRange range) {
    out.push_back({word.text.substr(range.begin, range.end - range.begin), word.at_start && range.begin == 0});
  };
  if (step.behavior != SplitBehavior::kIsolated) {
    for (const TextRange range : join(parts_of(word.text, step), step.behavior)) emit(range);
    return;
  }
  // The common case, without the list of parts.
  std::size_t done = 0;
  while (const auto found = step.pattern.find(word.text, done)) {
    if (found->begin > done) emit({done, found->begin});
    emit(*found);
    done = found->end;
  }
  if (done < word.text.size()) emit({done, word.text.size()});
}

void apply(const PrefixSpaceStep&, const Word& word, PreTokenizer::Arena& arena, std::vector<Word>& out) {
  if (word.text.front() == ' ') {
    out.push_back(word);
  } else {
    out.push_back({arena.emplace_back(" ").append(word.text), word.at_start});
  }
}

void apply(const MetaspaceStep& step, const Word& word, PreTokenizer::Arena& arena, std::vector<Word>& out) {
  std::string& text = arena.emplace_back(Pattern(" ").replace_all(word.text, step.replacement));
  const bool prepend = step.prepend == MetaspaceStep::Prepend::kAlways ||
                       (step.prepend == MetaspaceStep::Prepend::kFirst && word.at_start);
  if (prepend && !text.starts_with(step.replacement)) text.insert(0, step.replacement);
  if (!step.split) {
    out.push_back({text, word.at_start});
    return;
  }
  const SplitStep split{Pattern(step.replacement), SplitBehavior::kMergedWithNext, false};
  apply(split, {text, word.at_start}, arena, out);
}

void apply(const CutBeforeRunStep& step, const Word& word, PreTokenizer::Arena&, std::vector<Word>& out) {
  std::size_t begin = 0;
  std::size_t run_end = 0;  // of the last run of marks
  for (std::size_t at = word.text.find(step.mark); at != std::string_view::npos;
       at = word.text.find(step.mark, run_end)) {
    if (at > run_end && at > begin) {
      out.push_back({word.text.substr(begin, at - begin), word.at_start && begin == 0});
      begin = at;
    }
    run_end = at + step.mark.size();
  }
  out.push_back({word.text.substr(begin), word.at_start && begin == 0});
}

}  // namespace

std::vector<Word> PreTokenizer::split(Word text, Arena& arena) const {
  std::vector<Word> words;
  if (text.text.empty()) return words;
  words.push_back(text);
  for (const Step& step : steps_) {
    std::vector<Word> next;
    std::visit(
        [&](const auto& one) {
          for (const Word& word : words) apply(one, word, arena, next);
        },
        step);
    words = std::move(next);
  }
  return words;
}

}  // namespace tandem
