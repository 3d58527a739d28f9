#include "comm/norm.h"

#include "base/error.h"
#include "comm/push/push_transport.h"

namespace tandem {
namespace {

template <DType kDType>
void on_cpu(const AddRmsNorm& norm) {
  SerialTeam team;
  for (std::int64_t row = 0; row < norm.rows; ++row) {
    add_norm_row<kDType>(team, norm, row, RowStart(team, norm, row), [&](std::int64_t i, Pack& pack) {
      pack = norm.in(row).load(i);
      return true;
    });
  }
}

}  // namespace

AddRmsNorm add_rms_norm_of(Tensor out, Tensor residual, ConstTensor x, ConstTensor weight, float epsilon) {
  AddRmsNorm norm;
  norm.x = static_cast<const std::byte*>(x.raw());
  norm.residual = static_cast<std::byte*>(residual.raw());
  norm.weight = static_cast<const std::byte*>(weight.raw());
  norm.out = static_cast<std::byte*>(out.raw());
  norm.columns = weight.num_elements();
  norm.rows = x.num_elements() / norm.columns;
  norm.row_bytes = static_cast<std::int64_t>(weight.bytes());
  norm.epsilon = epsilon;
  return norm;
}

void add_rms_norm(const Stream& stream, DType dtype, const AddRmsNorm& norm) {
  if (norm.rows == 0) return;
  if (!stream.device().is_cpu()) {
    if constexpr (kBuiltWithCuda) return queue_add_rms_norm(stream, dtype, norm);
  }
  switch (dtype) {
    case DType::kF32:
      return on_cpu<DType::kF32>(norm);
    case DType::kF16:
      return on_cpu<DType::kF16>(norm);
    case DType::kBF16:
      return on_cpu<DType::kBF16>(norm);
    default:
      fail(ErrorKind::kInternal, "add_rms_norm: no norms of {}", to_string(dtype));
  }
}

}  // namespace tandem
