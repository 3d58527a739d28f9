#pragma once
// Prefill and decode speed of a loaded model, against what this machine can do, measured in the same run.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "diagnose/samples.h"
#include "tandem/model.h"

namespace tandem {

struct BenchModelParameters {
  int prompt = 512;   ///< tokens of a prefill sample
  int tokens = 64;    ///< steps of a decode sample
  int context = 128;  ///< tokens in the cache when decode begins
  int batch = 1;      ///< sequences decoded together
  int samples = 5;
};

struct BenchModelResult {
  Samples decode_step_s;   ///< seconds a step, all sequences of the batch together
  Samples read_bandwidth;  ///< bytes/s of reading buffers of the weights' size with the same threads, matrix by matrix
  Samples prefill_s;       ///< seconds a prompt
  Samples gemm_rate;       ///< flop/s of f32 matrix products in all threads at once
  std::uint64_t decode_bytes = 0;  ///< weight bytes that a step reads
  double prefill_flops = 0;        ///< of the prompt's matrix products
  double decode_share = 0;         ///< median over samples of decode_bytes / step / bandwidth measured round it
  double prefill_share = 0;        ///< median over samples of prefill_flops / prompt / rate measured before it
  std::uint64_t peak_resident_bytes = 0;
  std::uint64_t cache_bytes = 0;
};

/// Decode and the read it is compared with alternate, as do prefill and GEMM, so that whatever else the machine does
/// falls on both. `note` gets a line now and then. Throws kInvalidArgument for parameters that do not fit the model.
BenchModelResult bench_model(std::shared_ptr<Model> model, const BenchModelParameters& parameters,
                             const std::function<void(const std::string&)>& note);

/// For people; and as lines of bench/results/*.jsonl.
std::string format_bench(const Model& model, const BenchModelParameters& parameters, const BenchModelResult& result);
std::string bench_jsonl(const Model& model, const BenchModelParameters& parameters, const BenchModelResult& result,
                        const std::string& command);

}  // namespace tandem
