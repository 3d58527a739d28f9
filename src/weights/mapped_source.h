#pragma once
// The weight source over bytes that are already in memory: safetensors and GGUF files once parsed. Internal to
// weights/.

#include <memory>

#include "weights/weight_source.h"

namespace tandem {

class MappedSource final : public WeightSource {
 public:
  /// `keep_alive` owns what the entries' `data` points to.
  MappedSource(TensorCatalogue catalogue, std::shared_ptr<const void> keep_alive)
      : WeightSource(std::move(catalogue)), keep_alive_(std::move(keep_alive)) {}

  LoadedMatrix load_matrix(const Stream& stream, const TensorEntry& entry, const MatrixRange& range) const override;
  OwnedTensor load_vector(const Stream& stream, const TensorEntry& entry, std::int64_t begin,
                          std::int64_t end) const override;

 private:
  std::shared_ptr<const void> keep_alive_;
};

}  // namespace tandem
