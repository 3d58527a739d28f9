#include "model/step_inputs.h"

#include <array>
#include <cstring>

namespace tandem {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kNumParts = 7;

// The parts of a batch, in the order of StepTensors.
std::array<const std::vector<std::int32_t>*, kNumParts> parts_of(const StepBatch& batch) {
  return {&batch.token_ids,   &batch.positions,  &batch.slots,        &batch.query_begin,
          &batch.context_len, &batch.page_table, &batch.logits_tokens};
}

Shape shape_of(const StepBatch& batch, const std::vector<std::int32_t>& part) {
  const auto count = static_cast<std::int64_t>(part.size());
  if (&part != &batch.page_table || batch.num_sequences() == 0) return {count};
  return {batch.num_sequences(), count / batch.num_sequences()};
}

template <class TensorOf>
StepTensors tensors_of(const StepBatch& batch, const TensorOf& tensor_of) {
  StepTensors tensors;
  ConstTensor* const targets[] = {&tensors.token_ids,    &tensors.positions,   &tensors.slots,
                                  &tensors.query_begin,  &tensors.context_len, &tensors.page_table,
                                  &tensors.logits_tokens};
  const auto parts = parts_of(batch);
  for (std::size_t i = 0; i < parts.size(); ++i) *targets[i] = tensor_of(*parts[i], shape_of(batch, *parts[i]));
  return tensors;
}

}  // namespace

StepInputs::StepInputs(Device device, std::int64_t numbers) {
  if (device.is_cpu()) return;
  const std::size_t bytes = static_cast<std::size_t>(numbers) * sizeof(std::int32_t) + kNumParts * kAlignment;
  if constexpr (kBuiltWithCuda) {
    on_device_ = Buffer(device, bytes);
    staging_ = cuda::PinnedBuffer(bytes);
  }
}

StepTensors StepInputs::place(const Stream& stream, const StepBatch& batch) {
  if (stream.device().is_cpu()) {
    return tensors_of(batch, [](const std::vector<std::int32_t>& part, Shape shape) {
      return ConstTensor(part.data(), DType::kI32, shape, Device{});
    });
  }
  const auto bytes_of = [](const std::vector<std::int32_t>& part) {
    return (part.size() * sizeof(std::int32_t) + kAlignment - 1) / kAlignment * kAlignment;
  };
  std::size_t total = 0;
  for (const std::vector<std::int32_t>* part : parts_of(batch)) total += bytes_of(*part);
  TANDEM_CHECK(total <= on_device_.bytes(), "a batch of {} bytes, there is room for {}", total, on_device_.bytes());
  std::size_t offset = 0;
  const StepTensors tensors = tensors_of(batch, [&](const std::vector<std::int32_t>& part, Shape shape) {
    if (!part.empty()) {
      std::memcpy(static_cast<std::byte*>(staging_.data()) + offset, part.data(), part.size() * sizeof(std::int32_t));
    }
    const ConstTensor tensor = on_device_.tensor(DType::kI32, shape, offset);
    offset += bytes_of(part);
    return tensor;
  });
  if constexpr (kBuiltWithCuda) cuda::copy(stream.cuda_handle(), on_device_.data(), staging_.data(), total);
  return tensors;
}

}  // namespace tandem
