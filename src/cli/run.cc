// `tandem run`: one answer, or a chat.
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <iterator>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "cli/chat.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/load.h"
#include "cli/output.h"
#include "device/cpu/process_memory.h"
#include "model/model_runtime.h"
#include "tandem/chat.h"
#include "tandem/generator.h"

namespace tandem::cli {
namespace {

constexpr int kDefaultMaxNewTokens = 512;

Job make_job(const RunOptions& options, const GenerationDefaults& defaults) {
  // A model whose authors do not say how to sample from it answers greedily.
  Job job;
  job.temperature = static_cast<float>(options.temperature.value_or(defaults.do_sample ? defaults.temperature : 0.0));
  job.top_k = options.top_k.value_or(defaults.do_sample ? defaults.top_k : 0);
  job.top_p = static_cast<float>(options.top_p.value_or(defaults.do_sample ? defaults.top_p : 1.0));
  job.min_p = static_cast<float>(options.min_p.value_or(defaults.do_sample ? defaults.min_p : 0.0));
  job.repetition_penalty = static_cast<float>(options.repetition_penalty.value_or(defaults.repetition_penalty));
  job.seed = options.seed;
  job.stop_strings = options.stop;
  job.ignore_eos = options.ignore_eos;
  job.max_new_tokens = options.max_new_tokens > 0 ? options.max_new_tokens : kDefaultMaxNewTokens;
  return job;
}

std::string timing_line(const Result& last, double load_s, const Model& model) {
  const double decode_rate =
      last.new_tokens > 1 && last.time_decode_s > 0 ? (last.new_tokens - 1) / last.time_decode_s : 0;
  const double prefill_rate = last.time_prefill_s > 0 ? last.prompt_tokens / last.time_prefill_s : 0;
  return format(
      "load {} ({} of weights, {} rank{}, {}) | first token {:.0f} ms | prefill {} tokens, {:.1f} tokens/s | "
      "decode {} tokens, {:.1f} tokens/s | memory {} resident\n",
      load_s < 1 ? format("{:.0f} ms", load_s * 1e3) : format("{:.2f} s", load_s),
      format_bytes(model.info().weight_bytes), model.info().tp_size, model.info().tp_size == 1 ? "" : "s",
      model.info().backend, last.time_to_first_token_s * 1e3, last.prompt_tokens, prefill_rate, last.new_tokens,
      decode_rate, format_bytes(peak_resident_memory()));
}

Json report(const Result& last, const std::vector<std::int32_t>& ids, double load_s, const Model& model) {
  return {{"model", model.info().name},
          {"architecture", model.info().architecture},
          {"tp", model.info().tp_size},
          {"backend", model.info().backend},
          {"text", last.full_text},
          {"token_ids", ids},
          {"eos_reason", to_string(last.eos_reason)},
          {"prompt_tokens", last.prompt_tokens},
          {"new_tokens", last.new_tokens},
          {"time_load_s", load_s},
          {"time_to_first_token_s", last.time_to_first_token_s},
          {"time_prefill_s", last.time_prefill_s},
          {"time_decode_s", last.time_decode_s},
          {"weight_bytes", model.info().weight_bytes},
          {"peak_resident_bytes", peak_resident_memory()}};
}

// Runs one job to its end; `on_text` gets its text as it comes.
Result run_job(Generator& generator, Job job, std::vector<std::int32_t>& ids,
               const std::function<void(std::string_view)>& on_text) {
  const int serial = generator.enqueue(std::move(job));
  while (true) {
    for (Result& result : generator.iterate()) {
      if (result.serial != serial) continue;
      ids.insert(ids.end(), result.token_ids.begin(), result.token_ids.end());
      if (!result.text.empty()) on_text(result.text);
      if (result.eos) return std::move(result);
    }
  }
}

// Whether the model sees the last message only, as it is, and not a conversation.
bool is_plain(const Tokenizer& tokenizer, bool raw) {
  return raw || tokenizer.chat_template().empty();
}

void check_system_message(const RunOptions& options, const Tokenizer& tokenizer) {
  if (options.system.empty() || !is_plain(tokenizer, options.raw)) return;
  fail_with_hint(ErrorKind::kInvalidArgument,
                 options.raw ? "--system has no place with --raw, which uses no chat template"
                             : format("--system has no place: {} has no chat template", options.model),
                 "put what it says into the prompt");
}

// A conversation as the model wants to see it.
std::vector<std::int32_t> encode_conversation(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages,
                                              bool raw) {
  if (is_plain(tokenizer, raw)) {
    return tokenizer.encode(messages.back().content, {.add_special_tokens = true});
  }
  return tokenizer.encode(apply_chat_template(tokenizer, messages), {.add_special_tokens = false});
}

int answer_once(const RunOptions& options, std::string prompt, Model& model, Generator& generator,
                const Tokenizer& tokenizer, InterruptThread& interrupt, double load_s) {
  std::vector<ChatMessage> messages;
  if (!options.system.empty()) messages.push_back({"system", options.system});
  messages.push_back({"user", std::move(prompt)});
  Job job = make_job(options, model.runtime().opened().generation);
  job.input_ids = encode_conversation(tokenizer, messages, options.raw);
  const InterruptAction action(interrupt, [&] { model.abort("interrupted"); });
  std::vector<std::int32_t> ids;
  const Result last = run_job(generator, std::move(job), ids, [&](std::string_view text) {
    if (!options.json) write_stdout(text);
  });
  if (options.json) {
    write_stdout(json_text(report(last, ids, load_s, model), 2) + "\n");
  } else {
    write_stdout("\n");
    std::fputs(timing_line(last, load_s, model).c_str(), stderr);
  }
  return 0;
}

int chat(const RunOptions& options, Model& model, Generator& generator, const Tokenizer& tokenizer,
         InterruptThread& interrupt, double load_s) {
  interrupt.end_program_on_interrupt(false);
  std::fputs("Type a message; Ctrl-C stops an answer, Ctrl-D leaves. /help lists the commands.\n", stderr);
  if (is_plain(tokenizer, options.raw)) {
    std::fputs("No chat template is used: each message stands alone, the model sees none of those before.\n", stderr);
  }
  ChatPrompt prompt;
  std::vector<ChatMessage> messages;
  const auto reset = [&] {
    messages.clear();
    if (!options.system.empty()) messages.push_back({"system", options.system});
  };
  reset();
  const int interrupted = exit_status(ErrorKind::kCancelled);
  const auto next_line = [&]() -> std::optional<std::string> {
    // The line editor waits in read(), where only the thread of the signals can end the program.
    const InterruptAction action(interrupt, [&] {
      if (!interrupt.terminated()) return;
      prompt.restore_terminal();
      ::_exit(interrupted);
    });
    return interrupt.terminated() ? std::nullopt : prompt.read_line("> ");
  };
  while (auto line = next_line()) {
    if (line->find_first_not_of(" \t\n") == std::string::npos) continue;
    if (*line == "/quit" || *line == "/exit") break;
    if (*line == "/reset") {
      reset();
      continue;
    }
    if (line->starts_with("/")) {
      std::fputs("/reset forgets the conversation, /quit leaves, /help shows this.\n", stderr);
      continue;
    }
    messages.push_back({"user", *line});
    interrupt.clear();
    try {
      Job job = make_job(options, model.runtime().opened().generation);
      job.input_ids = encode_conversation(tokenizer, messages, options.raw);
      const int serial = generator.enqueue(std::move(job));
      const InterruptAction action(interrupt, [&generator, serial] { generator.cancel(serial); });
      Result last;
      while (generator.num_remaining_jobs() > 0) {
        for (Result& result : generator.iterate()) {
          write_stdout(result.text);
          if (result.eos) last = std::move(result);
        }
      }
      write_stdout("\n");
      if (last.eos_reason == EosReason::kCancelled) std::fputs("(stopped)\n", stderr);
      std::fputs(timing_line(last, load_s, model).c_str(), stderr);
      messages.push_back({"assistant", last.full_text});
    } catch (const Error& error) {
      // A message that cannot be answered (too long, not UTF-8) leaves the conversation as it was.
      if (error.kind() != ErrorKind::kInvalidArgument) throw;
      print_error(error);
      messages.pop_back();
    }
  }
  return interrupt.terminated() ? interrupted : 0;
}

}  // namespace

int run_command(const RunOptions& options, const Settings& settings, InterruptThread& interrupt) {
  const bool terminal = ::isatty(STDIN_FILENO) == 1;
  std::optional<std::string> prompt = options.prompt;
  if (!prompt && !terminal) {
    prompt = std::string(std::istreambuf_iterator<char>(std::cin), {});
    if (prompt->ends_with('\n')) prompt->pop_back();
  }
  if (prompt && prompt->empty()) {
    fail_with_hint(ErrorKind::kInvalidArgument, "the prompt is empty", "give a text with -p, or on stdin");
  }
  if (!prompt && options.json) {
    fail_with_hint(ErrorKind::kInvalidArgument, "--json needs a prompt", "give one with -p, or on stdin");
  }
  const auto start = Clock::now();
  OpenedModel opened = open_model(options.model);
  // Before the weights are read, so that what is wrong with it is told at once.
  const std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::load(options.model, opened.config.vocab_size);
  check_system_message(options, *tokenizer);
  const auto model = load_model(std::move(opened), model_options(options.model, settings), interrupt);
  if (tokenizer->vocab_size() > model->info().vocab_size) {
    fail_with_hint(ErrorKind::kBadFile,
                   format("{}: the tokenizer has {} tokens, the model's vocabulary only {}", options.model,
                          tokenizer->vocab_size(), model->info().vocab_size),
                   "tokenizer and weights do not belong together; fetch both again");
  }
  const auto cache = std::make_shared<Cache>(model);
  Generator generator(model, cache, tokenizer);
  const double load_s = seconds_since(start);
  return prompt ? answer_once(options, std::move(*prompt), *model, generator, *tokenizer, interrupt, load_s)
                : chat(options, *model, generator, *tokenizer, interrupt, load_s);
}

}  // namespace tandem::cli
