#include "generate/generate_test_rig.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "kernels/sample/sample.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/tokenizer_parts.h"

namespace tandem {

std::shared_ptr<const Tokenizer> test_tokenizer(std::vector<std::int32_t> eos_token_ids) {
  TokenizerParts parts;
  for (int byte = 0; byte < 256; ++byte) {
    parts.vocabulary.add(bytes_to_characters(std::string(1, static_cast<char>(byte))), byte);
  }
  const std::vector<AddedToken> special = {{.id = kEndOfText, .content = "<eot>", .special = true},
                                           {.id = kEndOfTurn, .content = "<end>", .special = true}};
  for (const AddedToken& token : special) parts.vocabulary.add(token.content, token.id);
  parts.vocabulary.add("stop", kStop);
  parts.vocabulary.add("ping", kPing);
  parts.added_tokens = AddedTokens(special, {"<eot>", "<end>"});
  parts.byte_level = true;
  parts.decoder = Decoder({ByteLevelDecode{}});
  parts.eos_token_ids = std::move(eos_token_ids);
  return std::make_shared<const Tokenizer>(std::move(parts));
}

std::vector<std::int32_t> byte_tokens(std::string_view text) {
  std::vector<std::int32_t> ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

std::vector<std::int32_t> prompt_of(std::int64_t num_tokens, std::uint32_t salt) {
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < num_tokens; ++i) {
    ids.push_back(static_cast<std::int32_t>((static_cast<std::uint64_t>(i) * 31 + salt * 97 + i / 256) % kVocabSize));
  }
  return ids;
}

void hashed_logits(std::span<const std::int32_t> tokens, std::span<float> logits) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::int32_t token : tokens) hash = (hash ^ static_cast<std::uint32_t>(token)) * 0x100000001b3;
  for (float& logit : logits) {
    hash = hash * 6364136223846793005u + 1442695040888963407u;
    logit = static_cast<float>(hash >> 40) * 0x1p-24f * 8.0f - 4.0f;
  }
  for (const int id : {int{'a'}, int{'b'}, 0xC3, 0xA9, 0xE2, kStop, kPing}) logits[static_cast<std::size_t>(id)] += 5;
}

NextLogits scripted_logits(std::int64_t num_prompt, std::vector<std::int32_t> script) {
  return [num_prompt, script = std::move(script)](std::span<const std::int32_t> tokens, std::span<float> logits) {
    const auto at = static_cast<std::size_t>(std::ssize(tokens) - num_prompt);
    std::ranges::fill(logits, 0.0f);
    logits[static_cast<std::size_t>(script[std::min(at, script.size() - 1)])] = 100;
  };
}

FakeRanks::FakeRanks(FakeOptions options)
    : options_(std::move(options)), memory_(static_cast<std::size_t>(options_.num_pages * options_.page_size), -1) {}

ConstTensor FakeRanks::step(std::span<const SequenceStep> sequences) {
  if (std::ssize(steps_) == options_.fail_at_step) {
    throw Error(ErrorKind::kPeerLost, "rank 1 stopped", "restart it");
  }
  EXPECT_GT(sequences.size(), 0u);
  EXPECT_LE(std::ssize(sequences), options_.max_batch_size);
  std::vector<Part> parts;
  std::int64_t num_tokens = 0;
  std::set<std::int32_t> pages;
  std::size_t num_pages = 0;
  logits_.clear();
  for (const SequenceStep& sequence : sequences) {
    const std::int64_t count = std::ssize(sequence.token_ids);
    const std::int64_t end = sequence.num_cached + count;
    EXPECT_GT(count, 0);
    EXPECT_LE(end, options_.max_seq_len);
    EXPECT_NE(sequence.logits, LogitsOf::kEveryToken);
    TANDEM_CHECK(end <= std::ssize(sequence.pages) * options_.page_size, "{} tokens in {} pages", end,
                 sequence.pages.size());
    pages.insert(sequence.pages.begin(), sequence.pages.end());
    num_pages += sequence.pages.size();
    num_tokens += count;
    const auto slot = [&](std::int64_t position) -> std::int32_t& {
      const std::int64_t page = sequence.pages[static_cast<std::size_t>(position / options_.page_size)];
      return memory_.at(static_cast<std::size_t>(page * options_.page_size + position % options_.page_size));
    };
    for (std::int64_t i = 0; i < count; ++i) {
      slot(sequence.num_cached + i) = sequence.token_ids[static_cast<std::size_t>(i)];
    }
    parts.push_back({sequence.num_cached, count, sequence.logits == LogitsOf::kLastToken});
    if (!parts.back().logits) continue;
    std::vector<std::int32_t> tokens;
    for (std::int64_t position = 0; position < end; ++position) tokens.push_back(slot(position));
    logits_.resize(logits_.size() + kVocabSize);
    options_.next(tokens, std::span(logits_).last(kVocabSize));
  }
  EXPECT_EQ(pages.size(), num_pages) << "a page is in two tables, or twice in one";
  EXPECT_LE(num_tokens, options_.max_step_tokens);
  steps_.push_back(std::move(parts));
  return {logits_.data(), DType::kF32, {std::ssize(logits_) / kVocabSize, kVocabSize}, Device{}};
}

Rig::Rig(FakeOptions options, std::vector<std::int32_t> eos_token_ids)
    : ranks(options),
      pages(options.num_pages),
      tokenizer(test_tokenizer(std::move(eos_token_ids))),
      scheduler(ranks, pages, options.page_size, tokenizer) {}

std::vector<Result> Rig::run() {
  std::vector<Result> last;
  while (scheduler.num_remaining_jobs() > 0) {
    for (Result& result : scheduler.iterate()) {
      if (result.eos) last.push_back(std::move(result));
    }
  }
  std::ranges::sort(last, {}, &Result::serial);
  return last;
}

std::string cut_at_stop(const std::string& text, std::span<const std::string> stop_strings) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const std::string& stop : stop_strings) {
      if (std::string_view(text).substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) return text.substr(0, end - longest);
  }
  return text;
}

Answer expected_answer(const Job& job, const NextLogits& next, const Tokenizer& tokenizer, std::int64_t max_seq_len) {
  const SamplingParams params = {.temperature = job.temperature,
                                 .top_k = job.top_k,
                                 .top_p = job.top_p,
                                 .min_p = job.min_p,
                                 .repetition_penalty = job.repetition_penalty,
                                 .seed = job.seed};
  const Stream stream = Stream::cpu(1);
  const auto contains = [](const std::vector<std::int32_t>& ids, std::int32_t id) {
    return std::ranges::find(ids, id) != ids.end();
  };
  const DecodeOptions decode = {.skip_special_tokens = !job.decode_special_tokens};
  std::vector<std::int32_t> tokens = job.input_ids;
  std::vector<std::int32_t> visible;
  std::vector<float> logits(kVocabSize);
  Answer answer;
  while (answer.reason == EosReason::kNone) {
    next(tokens, logits);
    const std::int32_t id =
        sample(stream, {logits.data(), DType::kF32, {kVocabSize}, Device{}}, tokens, params, tokens.size());
    tokens.push_back(id);
    answer.token_ids.push_back(id);
    if (contains(job.stop_token_ids, id) || (!job.ignore_eos && contains(tokenizer.eos_token_ids(), id))) {
      answer.reason = EosReason::kStopToken;
      break;
    }
    visible.push_back(id);
    const std::string text = tokenizer.decode(visible, decode);
    if (cut_at_stop(text, job.stop_strings) != text) {
      answer.reason = EosReason::kStopString;
    } else if (std::ssize(answer.token_ids) == job.max_new_tokens || std::ssize(tokens) == max_seq_len) {
      answer.reason = EosReason::kMaxNewTokens;
    }
  }
  answer.text = cut_at_stop(tokenizer.decode(visible, decode), job.stop_strings);
  return answer;
}

}  // namespace tandem
