#include "kernels/matmul/cublas_lt.h"

#include <cublasLt.h>
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "device/cuda/library_search.h"
#include "device/cuda/runtime.h"

namespace tandem {
namespace {

/// Its functions, with the types of the header; the library is never unloaded.
struct Api {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtGetVersion) get_version;
  decltype(&cublasLtGetStatusString) get_status_string;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) get_heuristic;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
};

/// Which functions are missing, or nothing.
std::string find_functions(void* library, Api& api) {
  std::string missing;
  const auto find = [&]<class Function>(const char* name, Function*& function) {
    function = reinterpret_cast<Function*>(dlsym(library, name));
    if (function == nullptr) missing += format(" {}", name);
  };
  find("cublasLtCreate", api.create);
  find("cublasLtGetVersion", api.get_version);
  find("cublasLtGetStatusString", api.get_status_string);
  find("cublasLtMatmul", api.matmul);
  find("cublasLtMatmulAlgoGetHeuristic", api.get_heuristic);
  find("cublasLtMatmulDescCreate", api.desc_create);
  find("cublasLtMatmulDescDestroy", api.desc_destroy);
  find("cublasLtMatmulDescSetAttribute", api.desc_set);
  find("cublasLtMatrixLayoutCreate", api.layout_create);
  find("cublasLtMatrixLayoutDestroy", api.layout_destroy);
  find("cublasLtMatmulPreferenceCreate", api.preference_create);
  find("cublasLtMatmulPreferenceDestroy", api.preference_destroy);
  find("cublasLtMatmulPreferenceSetAttribute", api.preference_set);
  return missing;
}

void log_absence(const std::string& reason) {
  log(LogLevel::kWarn, Subsystem::kModel,
      "no cuBLASLt: products of many tokens take a slow kernel instead (install CUDA's libcublas or Python's "
      "nvidia-cublas): {}",
      reason);
}

/// Null where there is none; looked for once.
const Api* load_api() {
  static const Api* const api = []() -> const Api* {
    std::string tried;
    for (const std::string& name : library_candidates({.file_names = {"libcublasLt.so.13", "libcublasLt.so.12"},
                                                       .package_folders = {"nvidia/cu13/lib", "nvidia/cublas/lib"},
                                                       .virtual_env = active_virtual_env()})) {
      void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (library == nullptr) {
        const char* reason = dlerror();
        tried += format("\n  {}", reason != nullptr ? reason : name.c_str());
        continue;
      }
      static Api found;
      const std::string missing = find_functions(library, found);
      if (missing.empty()) {
        log(LogLevel::kDebug, Subsystem::kModel, "cuBLASLt {} from {}", found.get_version(), name);
        return &found;
      }
      tried += format("\n  {} lacks{}", name, missing);
    }
    log_absence(tried);
    return nullptr;
  }();
  return api;
}

cudaDataType_t type_of(DType dtype) {
  return dtype == DType::kF32 ? CUDA_R_32F : dtype == DType::kF16 ? CUDA_R_16F : CUDA_R_16BF;
}

/// Bytes that an address is surely aligned to; algorithms ask for 16 at most.
std::uint32_t alignment_of(const void* address) {
  return static_cast<std::uint32_t>(std::size_t{1}
                                    << std::min(std::countr_zero(reinterpret_cast<std::uintptr_t>(address)), 8));
}

/// All that an algorithm depends on.
struct Key {
  std::int64_t rows, num_tokens, cols, w_stride, y_stride;
  DType x_dtype, y_dtype;
  std::uint32_t w_alignment, x_alignment, y_alignment;
  std::size_t workspace_bytes;
  auto operator<=>(const Key&) const = default;
};

struct Algorithm {
  bool exists = false;
  cublasLtMatmulAlgo_t choice{};
};

// Prompts come in many lengths; beyond this they are looked up anew.
constexpr std::size_t kMaxAlgorithms = 4096;

}  // namespace

struct CublasLt::State {
  const Api& api;
  int device;
  cublasLtHandle_t handle = nullptr;
  std::mutex mutex;
  std::map<Key, Algorithm> algorithms;

  void check(cublasStatus_t status, const char* call, const GemmTask& task) const {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    fail(ErrorKind::kInternal, "{} on cuda:{}: {}, {} tokens, w {} [{}, {}]", call, device,
         api.get_status_string(status), task.num_tokens, to_string(task.w_dtype), task.rows, task.cols);
  }
};

namespace {

/// The task in cuBLASLt's words. It counts columns first: y^T [rows, tokens] = w^T' [cols, rows]' * x^T [cols, tokens].
class Product {
 public:
  Product(const Api& api, const GemmTask& task) : api_(api) {
    const cublasOperation_t transposed = CUBLAS_OP_T;
    ok_ = good(api.desc_create(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F)) &&
          good(api.desc_set(desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed))) &&
          good(api.layout_create(&w, type_of(task.w_dtype), as_unsigned(task.cols), as_unsigned(task.rows),
                                 w_stride(task))) &&
          good(api.layout_create(&x, type_of(task.x_dtype), as_unsigned(task.cols), as_unsigned(task.num_tokens),
                                 task.cols)) &&
          good(api.layout_create(&y, type_of(task.y_dtype), as_unsigned(task.rows), as_unsigned(task.num_tokens),
                                 task.y_stride));
  }
  ~Product() {
    if (y != nullptr) api_.layout_destroy(y);
    if (x != nullptr) api_.layout_destroy(x);
    if (w != nullptr) api_.layout_destroy(w);
    if (desc != nullptr) api_.desc_destroy(desc);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
  /// Of the first call that failed, or success.
  cublasStatus_t status() const { return ok_ ? CUBLAS_STATUS_SUCCESS : status_; }
  static std::int64_t w_stride(const GemmTask& task) {
    return static_cast<std::int64_t>(task.w_row_stride / dtype_bytes(task.w_dtype, 1));
  }

  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t w = nullptr, x = nullptr, y = nullptr;

 private:
  static std::uint64_t as_unsigned(std::int64_t value) { return static_cast<std::uint64_t>(value); }
  bool good(cublasStatus_t status) {
    status_ = status;
    return status == CUBLAS_STATUS_SUCCESS;
  }
  const Api& api_;
  cublasStatus_t status_ = CUBLAS_STATUS_SUCCESS;
  bool ok_ = false;
};

/// Asks cuBLASLt for its first choice. Sums of splits stay in f32.
Algorithm choose(const Api& api, cublasLtHandle_t handle, const Product& product, const Key& key) {
  cublasLtMatmulPreference_t preference = nullptr;
  if (api.preference_create(&preference) != CUBLAS_STATUS_SUCCESS) return {};
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    return api.preference_set(preference, attribute, &value, sizeof(value)) == CUBLAS_STATUS_SUCCESS;
  };
  const std::uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  cublasLtMatmulHeuristicResult_t result{};
  int count = 0;
  const bool found = set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, key.workspace_bytes) &&
                     set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions) &&
                     set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.w_alignment) &&
                     set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.x_alignment) &&
                     set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.y_alignment) &&
                     set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.y_alignment) &&
                     api.get_heuristic(handle, product.desc, product.w, product.x, product.y, product.y, preference, 1,
                                       &result, &count) == CUBLAS_STATUS_SUCCESS &&
                     count == 1 && result.state == CUBLAS_STATUS_SUCCESS;
  api.preference_destroy(preference);
  return {found, result.algo};
}

}  // namespace

CublasLt::CublasLt(std::unique_ptr<State> state) : state_(std::move(state)) {}
CublasLt::~CublasLt() = default;

CublasLt* CublasLt::of(int device) {
  static std::mutex mutex;
  static std::map<int, std::unique_ptr<CublasLt>> instances;  // null: tried in vain
  const std::lock_guard lock(mutex);
  if (const auto known = instances.find(device); known != instances.end()) return known->second.get();
  std::unique_ptr<CublasLt>& made = instances[device];
  const Api* api = load_api();
  if (api == nullptr) return nullptr;
  const cuda::OnDevice current(device);
  auto state = std::make_unique<State>(*api, device);
  if (const cublasStatus_t status = api->create(&state->handle); status != CUBLAS_STATUS_SUCCESS) {
    log_absence(format("cublasLtCreate on cuda:{}: {}", device, api->get_status_string(status)));
    return nullptr;
  }
  made.reset(new CublasLt(std::move(state)));
  return made.get();
}

bool CublasLt::multiply(void* stream, const GemmTask& task, bool accumulate, void* workspace,
                        std::size_t workspace_bytes) {
  const Product product(state_->api, task);
  state_->check(product.status(), "cuBLASLt: describing a product", task);
  const Key key{.rows = task.rows,
                .num_tokens = task.num_tokens,
                .cols = task.cols,
                .w_stride = Product::w_stride(task),
                .y_stride = task.y_stride,
                .x_dtype = task.x_dtype,
                .y_dtype = task.y_dtype,
                .w_alignment = alignment_of(task.w),
                .x_alignment = alignment_of(task.x),
                .y_alignment = alignment_of(task.y),
                .workspace_bytes = workspace_bytes};
  Algorithm algorithm;
  {
    const std::lock_guard lock(state_->mutex);
    auto known = state_->algorithms.find(key);
    if (known == state_->algorithms.end()) {
      if (state_->algorithms.size() >= kMaxAlgorithms) state_->algorithms.clear();
      known = state_->algorithms.emplace(key, choose(state_->api, state_->handle, product, key)).first;
      if (!known->second.exists) {
        log(LogLevel::kWarn, Subsystem::kModel,
            "cuBLASLt has no algorithm for {} tokens of {}, w [{}, {}] on cuda:{}: a slow kernel takes them",
            task.num_tokens, to_string(task.x_dtype), task.rows, task.cols, state_->device);
      }
    }
    algorithm = known->second;
  }
  if (!algorithm.exists) return false;
  const float alpha = 1, beta = accumulate ? 1 : 0;
  state_->check(state_->api.matmul(state_->handle, product.desc, &alpha, task.w, product.w, task.x, product.x, &beta,
                                   task.y, product.y, task.y, product.y, &algorithm.choice, workspace, workspace_bytes,
                                   static_cast<cudaStream_t>(stream)),
                "cublasLtMatmul", task);
  return true;
}

}  // namespace tandem
