#pragma once
// A model loaded over the ranks of a box, and the cache its sequences live in.

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace tandem {

class ModelRuntime;

struct LoadProgress {
  std::uint64_t bytes_done = 0;
  std::uint64_t bytes_total = 0;  ///< over all ranks
};

struct ModelOptions {
  std::string model_dir;                  ///< a folder with config.json and safetensors, a .gguf file, or dummy:NAME
  std::string tp_backend = "auto";        ///< auto | cpu; p2p, nccl and native need a build and machine with GPUs
  std::vector<std::string> devices = {};  ///< one a rank: "cpu", "cpu:1"; empty: tp_size CPU ranks
  int tp_size = 0;                        ///< number of ranks, 1 to 16; 0: as many as devices, else 1
  int max_batch_size = 1;                 ///< sequences in one step, at most
  std::int64_t max_seq_len = 0;           ///< tokens of one sequence; 0: the model's own limit, at most 4096
  std::int64_t shbuf_size = 0;            ///< bytes of a rank's communication workspace on GPUs; 0: chosen
  int threads = 0;                        ///< threads over all ranks; 0: one a core
  double timeout_s = 10;                  ///< longest wait of a rank for another
  std::function<void(const LoadProgress&)> on_progress =
      {};  ///< called from one thread at a time, about 20 times a second
};

/// What a loaded model is, for display and accounting.
struct ModelInfo {
  std::string name;          ///< folder or file name, or dummy:NAME
  std::string architecture;  ///< Hugging Face class, e.g. "LlamaForCausalLM"
  std::string backend;       ///< the communication back-end in use
  int tp_size = 1;
  int threads_per_rank = 1;
  std::int64_t vocab_size = 0;
  std::int64_t max_seq_len = 0;
  int max_batch_size = 1;
  std::uint64_t num_parameters = 0;
  std::uint64_t weight_bytes = 0;  ///< over all ranks, shared or replicated tensors counted on each
};

/// Use from one thread, except abort(). Model, Cache and Generator of one model share its ranks.
class Model {
 public:
  /// Reads, checks, shards and loads. Throws Error; nothing is left behind on failure.
  static std::shared_ptr<Model> load(const ModelOptions& options);
  explicit Model(std::unique_ptr<ModelRuntime> runtime);
  ~Model();

  const ModelInfo& info() const;
  /// Ends the ranks and returns all memory but that of caches; later use throws kInvalidArgument, and what was made of
  /// the model can only be destroyed. Idempotent.
  void unload();
  /// From any thread: the step that is running, or if none is, the next one throws an Error of kind kCancelled. As
  /// after any other error of a step (a timeout, no memory), generators of this model throw from then on; a Cache or
  /// Generator made later starts afresh. Without effect after unload().
  void abort(const std::string& reason);
  /// For the library's own use. Throws kInvalidArgument after unload().
  ModelRuntime& runtime() const;

 private:
  std::unique_ptr<ModelRuntime> runtime_;
  std::mutex runtime_mutex_;  ///< held by unload() as it takes the runtime away, and by abort()
  ModelInfo info_;
};

/// Room for the keys and values of all sequences, in pages of 256 tokens, on every rank.
class Cache {
 public:
  static constexpr int kPageSize = 256;
  /// max_num_tokens is rounded up to whole pages; 0: max_batch_size sequences of max_seq_len.
  explicit Cache(std::shared_ptr<Model> model, std::int64_t max_num_tokens = 0);
  ~Cache();
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  std::int64_t max_num_tokens() const;
  std::uint64_t bytes() const;  ///< over all ranks

  struct Impl;
  Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem
