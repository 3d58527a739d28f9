#include "generate/scheduler.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/trace.h"
#include "generate/job_check.h"
#include "generate/text_stream.h"
#include "kernels/sample/sample.h"

namespace tandem {
namespace {

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

}  // namespace

/// A job from enqueue() to its last result. Prefill and decode are one thing here: the tokens behind num_cached are
/// still to be computed, all of the prompt at first, then the one that was sampled last.
struct Scheduler::Sequence {
  Sequence(int serial_, Job job_, std::int64_t num_pages_, const std::shared_ptr<const Tokenizer>& tokenizer)
      : serial(serial_),
        job(std::move(job_)),
        tokens(job.input_ids),
        num_pages(num_pages_),
        text(tokenizer, {.skip_special_tokens = !job.decode_special_tokens}, job.stop_strings) {
    tokens.reserve(tokens.size() + static_cast<std::size_t>(job.max_new_tokens));
    pages.reserve(static_cast<std::size_t>(num_pages));
  }

  std::int64_t num_prompt() const { return static_cast<std::int64_t>(job.input_ids.size()); }
  std::int64_t num_new() const { return static_cast<std::int64_t>(tokens.size()) - num_prompt(); }
  std::int64_t num_to_compute() const { return static_cast<std::int64_t>(tokens.size()) - num_cached; }
  bool is_decoding() const { return num_cached >= num_prompt(); }
  Result make_result() const {
    const Stage stage = num_new() > 0 ? Stage::kStreaming : reported ? Stage::kPrefill : Stage::kStarted;
    return {.serial = serial, .stage = stage, .prompt_tokens_done = std::min(num_cached, num_prompt())};
  }

  int serial;
  Job job;
  std::vector<std::int32_t> tokens;  // prompt, then answer
  std::int64_t num_cached = 0;
  std::int64_t num_pages;           // reserved: enough for the prompt and the whole answer
  std::vector<std::int32_t> pages;  // page table, of the pages taken so far
  bool reported = false;            // kStarted was
  TextStream text;
  std::string full_text;

  Clock::time_point enqueued = Clock::now();
  std::optional<Clock::time_point> started;
  std::optional<Clock::time_point> prompt_done;
  std::optional<Clock::time_point> first_token;
  std::optional<Clock::time_point> last_token;
};

/// A sequence's part of a step.
struct Scheduler::Scheduled {
  Sequence* sequence;
  std::int64_t num_tokens;
  bool samples;  // the step computes its last token
};

Scheduler::Scheduler(StepRunner& runner, PageAllocator& pages, std::int64_t page_size,
                     std::shared_ptr<const Tokenizer> tokenizer)
    : runner_(runner),
      pages_(pages),
      page_size_(page_size),
      tokenizer_(std::move(tokenizer)),
      stream_(Stream::cpu(1)),
      logits_(Device{}, DType::kF32, {runner.vocab_size()}) {
  TANDEM_CHECK(page_size_ > 0, "page_size {}", page_size_);
  TANDEM_CHECK(runner.max_batch_size() > 0 && runner.max_step_tokens() >= runner.max_batch_size(),
               "{} tokens in a step of {} sequences", runner.max_step_tokens(), runner.max_batch_size());
}

Scheduler::~Scheduler() {
  close();
}

int Scheduler::enqueue(Job job) {
  throw_if_failed();
  if (closed_) fail(ErrorKind::kInvalidArgument, "the generator is closed");
  check_job(job, {.vocab_size = runner_.vocab_size(),
                  .max_seq_len = runner_.max_seq_len(),
                  .cache_tokens = pages_.num_pages() * page_size_});
  const std::int64_t num_tokens = static_cast<std::int64_t>(job.input_ids.size()) + job.max_new_tokens;
  const std::int64_t num_pages = (num_tokens + page_size_ - 1) / page_size_;
  const std::lock_guard lock(mutex_);
  waiting_.push_back(std::make_unique<Sequence>(next_serial_, std::move(job), num_pages, tokenizer_));
  return next_serial_++;
}

std::vector<Result> Scheduler::iterate() {
  throw_if_failed();
  try {
    return run_iteration();
  } catch (const Error& error) {
    fail_with(error.kind(), error.what(), error.hint());
    throw;
  } catch (const std::exception& error) {
    fail_with(ErrorKind::kInternal, error.what(), "");
    throw;
  }
}

int Scheduler::num_remaining_jobs() const {
  return static_cast<int>(waiting_.size() + running_.size());
}

void Scheduler::cancel(int serial) {
  const std::lock_guard lock(mutex_);
  // A serial not given out yet must not end the job that gets it later.
  if (serial > 0 && serial < next_serial_) cancelled_.push_back(serial);
}

void Scheduler::close() {
  closed_ = true;
  end_all_jobs();
}

void Scheduler::throw_if_failed() const {
  if (failure_) throw *failure_;
}

void Scheduler::fail_with(ErrorKind kind, const std::string& what, const std::string& hint) {
  failure_.emplace(kind, format("the generator has stopped after an error: {}", what), hint);
  end_all_jobs();
}

void Scheduler::end_all_jobs() {
  for (const SequencePtr& sequence : running_) release_pages(*sequence);
  running_.clear();
  waiting_.clear();
}

std::vector<Result> Scheduler::run_iteration() {
  std::vector<Result> results;
  end_cancelled(results);
  admit();
  const std::vector<Scheduled> plan = plan_step();
  if (!plan.empty()) std::ranges::move(run_step(plan), std::back_inserter(results));
  for (const SequencePtr& sequence : running_) {
    if (!sequence->reported && sequence->num_cached == 0) results.push_back(sequence->make_result());
    sequence->reported = true;
  }
  return results;
}

void Scheduler::end_cancelled(std::vector<Result>& results) {
  std::vector<int> serials;
  {
    const std::lock_guard lock(mutex_);
    serials.swap(cancelled_);
  }
  const auto is_cancelled = [&](const SequencePtr& sequence) {
    return std::ranges::find(serials, sequence->serial) != serials.end();
  };
  const auto end_job = [&](const SequencePtr& sequence) {
    if (!is_cancelled(sequence)) return;
    Result result = sequence->make_result();
    finish(*sequence, EosReason::kCancelled, result);
    results.push_back(std::move(result));
  };
  // All end before any leaves its list: an exception in the middle of std::erase_if would leave gaps in it.
  std::ranges::for_each(running_, end_job);
  std::ranges::for_each(waiting_, end_job);
  std::erase_if(running_, is_cancelled);
  std::erase_if(waiting_, is_cancelled);
}

void Scheduler::admit() {
  while (!waiting_.empty() && std::ssize(running_) < runner_.max_batch_size()) {
    Sequence& next = *waiting_.front();
    if (next.num_pages > pages_.num_free() - num_promised_) {
      if (running_.empty()) {
        fail_with_hint(ErrorKind::kOutOfMemory,
                       format("job {} needs {} pages of the cache; {} of {} are free, though no job runs", next.serial,
                              next.num_pages, pages_.num_free(), pages_.num_pages()),
                       "give each generator a cache of its own");
      }
      return;  // nobody overtakes: a long job would wait for ever
    }
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    num_promised_ += next.num_pages;
    next.started = Clock::now();
  }
}

std::vector<Scheduler::Scheduled> Scheduler::plan_step() {
  std::vector<Scheduled> plan;
  // Who streams already goes on at every step; prompts share what is left of it.
  for (const SequencePtr& sequence : running_) {
    if (sequence->is_decoding()) plan.push_back({sequence.get(), 1, true});
  }
  std::int64_t room = runner_.max_step_tokens() - std::ssize(plan);
  for (const SequencePtr& sequence : running_) {
    if (sequence->is_decoding()) continue;
    const std::int64_t num_tokens = std::min(room, sequence->num_to_compute());
    if (num_tokens == 0) break;
    plan.push_back({sequence.get(), num_tokens, num_tokens == sequence->num_to_compute()});
    room -= num_tokens;
  }
  return plan;
}

std::vector<Result> Scheduler::run_step(std::span<const Scheduled> plan) {
  std::vector<SequenceStep> steps;
  std::int64_t num_rows = 0;
  for (const Scheduled& part : plan) {
    Sequence& sequence = *part.sequence;
    reserve_table(sequence, sequence.num_cached + part.num_tokens);
    steps.push_back({.token_ids = std::span(sequence.tokens)
                                      .subspan(static_cast<std::size_t>(sequence.num_cached),
                                               static_cast<std::size_t>(part.num_tokens)),
                     .num_cached = sequence.num_cached,
                     .pages = sequence.pages,
                     .logits = part.samples ? LogitsOf::kLastToken : LogitsOf::kNone});
    num_rows += part.samples;
  }
  const ConstTensor logits = runner_.step(steps);
  const Clock::time_point now = Clock::now();
  if (num_rows > 0) check_shape("logits of a step", logits, {num_rows, runner_.vocab_size()});

  std::vector<Result> results;
  std::int64_t row = 0;
  for (const Scheduled& part : plan) {
    Sequence& sequence = *part.sequence;
    sequence.num_cached += part.num_tokens;
    Result result = sequence.make_result();
    if (part.samples) {
      if (!sequence.prompt_done) sequence.prompt_done = now;
      append_token(sequence, logits.slice(row, row + 1), result);
      ++row;
    }
    results.push_back(std::move(result));
  }
  // Ended jobs leave at the end: the plan points to them until here.
  for (const Result& result : results) {
    if (result.eos) std::erase_if(running_, [&](const SequencePtr& s) { return s->serial == result.serial; });
  }
  return results;
}

void Scheduler::append_token(Sequence& sequence, ConstTensor logits, Result& result) {
  const Job& job = sequence.job;
  std::memcpy(logits_.tensor.raw(), logits.raw(), logits_.tensor.bytes());
  std::int32_t id = 0;
  try {
    static constexpr TraceLabel kLabel = {"sample", "generate", {"job", "position"}};
    const TraceSpan span(kLabel, sequence.serial, std::ssize(sequence.tokens));
    // The random number depends on the position alone, so the batch around a job does not matter to it.
    id = sample(stream_, logits_.tensor, sequence.tokens, sampling_params(job), sequence.tokens.size());
  } catch (const Error& error) {
    throw Error(error.kind(), format("job {}, token {}: {}", sequence.serial, sequence.tokens.size(), error.what()),
                error.hint());
  }
  sequence.last_token = Clock::now();
  if (!sequence.first_token) sequence.first_token = sequence.last_token;
  sequence.tokens.push_back(id);
  result.stage = Stage::kStreaming;
  result.token_ids.push_back(id);

  const auto contains = [id](const std::vector<std::int32_t>& ids) { return std::ranges::find(ids, id) != ids.end(); };
  if (contains(job.stop_token_ids) || (!job.ignore_eos && contains(tokenizer_->eos_token_ids()))) {
    finish(sequence, EosReason::kStopToken, result);
    return;
  }
  result.text = sequence.text.push(id);
  sequence.full_text += result.text;
  if (sequence.text.stopped()) {
    finish(sequence, EosReason::kStopString, result);
  } else if (sequence.num_new() == job.max_new_tokens) {
    finish(sequence, EosReason::kMaxNewTokens, result);
  }
}

void Scheduler::reserve_table(Sequence& sequence, std::int64_t num_tokens) {
  while (std::ssize(sequence.pages) * page_size_ < num_tokens) {
    const std::optional<std::int32_t> page = pages_.allocate();
    TANDEM_CHECK(page && std::ssize(sequence.pages) < sequence.num_pages, "job {} has {} of its {} pages, {} are free",
                 sequence.serial, sequence.pages.size(), sequence.num_pages, pages_.num_free());
    sequence.pages.push_back(*page);
    --num_promised_;
  }
}

void Scheduler::finish(Sequence& sequence, EosReason reason, Result& result) {
  const std::string rest = sequence.text.finish();
  result.text += rest;
  sequence.full_text += rest;
  release_pages(sequence);

  const Clock::time_point now = Clock::now();
  result.eos = true;
  result.eos_reason = reason;
  result.full_text = std::move(sequence.full_text);
  result.prompt_tokens = static_cast<int>(sequence.num_prompt());
  result.new_tokens = static_cast<int>(sequence.num_new());
  result.time_enqueued_s = seconds_between(sequence.enqueued, sequence.started.value_or(now));
  if (sequence.started) {
    result.time_prefill_s = seconds_between(*sequence.started, sequence.prompt_done.value_or(now));
  }
  result.time_to_first_token_s = seconds_between(sequence.enqueued, sequence.first_token.value_or(now));
  if (sequence.first_token) result.time_decode_s = seconds_between(*sequence.first_token, *sequence.last_token);
}

void Scheduler::release_pages(Sequence& sequence) {
  if (!sequence.started) return;
  num_promised_ -= sequence.num_pages - std::ssize(sequence.pages);
  for (const std::int32_t page : sequence.pages) pages_.release(page);
  sequence.pages.clear();
  sequence.num_pages = 0;
}

}  // namespace tandem
