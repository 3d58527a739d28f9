#pragma once
// Continuous batching: which tokens of which jobs a step computes, and what becomes of the logits. Knows no model:
// steps come from a StepRunner, page numbers from a PageAllocator. See docs/decisions/0005-continuous-batching.md.

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "cache/page_allocator.h"
#include "device/buffer.h"
#include "device/stream.h"
#include "model/step.h"
#include "tandem/error.h"
#include "tandem/generator.h"

namespace tandem {

/// See Generator, whose functions these are. Use from one thread, except cancel().
class Scheduler {
 public:
  /// `runner` and `pages` outlive the scheduler; no other takes pages of this allocator meanwhile.
  /// page_size: tokens a page.
  Scheduler(StepRunner& runner, PageAllocator& pages, std::int64_t page_size,
            std::shared_ptr<const Tokenizer> tokenizer);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  int enqueue(Job job);
  std::vector<Result> iterate();
  int num_remaining_jobs() const;
  void cancel(int serial);
  void close();

 private:
  struct Sequence;
  struct Scheduled;
  using SequencePtr = std::unique_ptr<Sequence>;

  void throw_if_failed() const;
  void fail_with(ErrorKind kind, const std::string& what, const std::string& hint);
  void end_all_jobs();

  std::vector<Result> run_iteration();
  void end_cancelled(std::vector<Result>& results);
  void admit();
  std::vector<Scheduled> plan_step();
  std::vector<Result> run_step(std::span<const Scheduled> plan);
  /// Draws the next token from its row of logits and ends the job where that is due.
  void append_token(Sequence& sequence, ConstTensor logits, Result& result);
  void reserve_table(Sequence& sequence, std::int64_t num_tokens);
  void finish(Sequence& sequence, EosReason reason, Result& result);
  void release_pages(Sequence& sequence);

  StepRunner& runner_;
  PageAllocator& pages_;
  std::int64_t page_size_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  Stream stream_;       // of the sampler
  OwnedTensor logits_;  // one row: the sampler overwrites it

  std::deque<SequencePtr> waiting_;   // in the order of enqueue()
  std::vector<SequencePtr> running_;  // in the order of admission
  std::int64_t num_promised_ = 0;     // pages reserved by running jobs and not yet taken from the allocator
  bool closed_ = false;
  std::optional<Error> failure_;

  std::mutex mutex_;            // of the members below
  std::vector<int> cancelled_;  // since the last iterate()
  int next_serial_ = 1;
};

}  // namespace tandem
