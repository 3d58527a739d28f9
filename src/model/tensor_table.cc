#include "model/tensor_table.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "base/error.h"

namespace tandem {
namespace {

// Extents by the names the tables use.
std::int64_t extent(const ModelConfig& config, std::string_view name) {
  if (name == "hidden") return config.hidden_size;
  if (name == "vocab") return config.vocab_size;
  if (name == "head") return config.head_dim;
  if (name == "q") return config.q_dim();
  if (name == "kv") return config.kv_dim();
  if (name == "qkv") return config.q_dim() + 2 * config.kv_dim();
  if (name == "mlp") return config.intermediate_size;
  if (name == "mlp2") return 2 * config.intermediate_size;
  if (name == "experts") return config.num_experts;
  if (name == "moe") return config.moe_intermediate_size;
  fail(ErrorKind::kInternal, "no extent is called \"{}\"", name);
}

template <class Visit>
void for_each_part(std::string_view text, char separator, const Visit& visit) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    visit(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

bool is_expert_slot(Slot slot) {
  return slot == Slot::kExpertGate || slot == Slot::kExpertUp || slot == Slot::kExpertDown;
}

bool applies(const TensorRow& row, const ModelConfig& config, int layer) {
  switch (row.presence) {
    case Presence::kAlways:
      return true;
    case Presence::kUnlessTied:
      return !config.tie_word_embeddings;
    case Presence::kAttentionBias:
      return config.attention_bias;
    case Presence::kAttentionOutBias:
      return config.attention_out_bias;
    case Presence::kMlpBias:
      return config.mlp_bias;
    case Presence::kDenseLayer:
      return !config.is_moe(layer);
    case Presence::kMoeLayer:
      return config.is_moe(layer);
  }
  return false;
}

std::int64_t rows_of_slot(Slot slot, const ModelConfig& config, const Shape& shape) {
  switch (slot) {  // only fused tensors have more rows than their slot
    case Slot::kWq:
      return config.q_dim();
    case Slot::kWk:
    case Slot::kWv:
      return config.kv_dim();
    case Slot::kGate:
    case Slot::kUp:
      return config.intermediate_size;
    default:
      return shape[0];
  }
}

TensorUse make_use(const TensorRow& row, const ModelConfig& config, WeightFormat format, int layer) {
  TensorUse use{.slot = row.slot, .layer = layer, .shard = row.shard};
  const bool gguf = format == WeightFormat::kGguf;
  const std::string prefix = layer < 0 ? ""
                             : gguf    ? tandem::format("blk.{}.", layer)
                                       : tandem::format("model.layers.{}.", layer);
  use.name = prefix + std::string(gguf ? row.gguf_name : row.name);
  std::vector<std::int64_t> sizes;
  for_each_part(row.shape, ' ', [&](std::string_view name) { sizes.push_back(extent(config, name)); });
  use.num_rows = rows_of_slot(row.slot, config, Shape(sizes));
  if (is_expert_slot(row.slot)) {
    use.num_experts = config.num_experts;
    if (gguf) sizes.insert(sizes.begin(), config.num_experts);
  }
  use.shape = Shape(sizes);
  for_each_part(row.first_row, '+', [&](std::string_view name) { use.first_row += extent(config, name); });
  return use;
}

// Frequencies that older converters left behind, which follow from the config; the factors of a GGUF file, which
// open_model() reads by itself.
bool may_be_ignored(std::string_view name) {
  return name.ends_with("rotary_emb.inv_freq") || name == "rope_freqs.weight";
}

// Of all experts: check_tensors() refuses others.
DType block_dtype(const TensorUse& use, const TensorCatalogue& catalogue) {
  return catalogue.at(use.tensor_name(0)).dtype;
}

}  // namespace

std::string TensorUse::tensor_name(std::int64_t expert) const {
  std::string result = name;
  if (const std::size_t place = result.find("{e}"); place != std::string::npos) {
    result.replace(place, 3, std::to_string(expert));
  }
  return result;
}

std::vector<TensorUse> tensor_table(const ModelConfig& config, WeightFormat format) {
  const Arch& arch = find_arch(config.architecture, "model");
  std::vector<TensorUse> table;
  for (const TensorRow& row : model_tensors()) {
    if (applies(row, config, -1)) table.push_back(make_use(row, config, format, -1));
  }
  for (int layer = 0; layer < static_cast<int>(config.num_hidden_layers); ++layer) {
    for (const TensorRow& row : arch.layer_tensors) {
      if (applies(row, config, layer)) table.push_back(make_use(row, config, format, layer));
    }
  }
  return table;
}

void check_tensors(std::span<const TensorUse> table, const TensorCatalogue& catalogue) {
  std::set<std::string, std::less<>> known;
  for (const TensorUse& use : table) {
    for (std::int64_t expert = 0; expert < (use.one_tensor_an_expert() ? use.num_experts : 1); ++expert) {
      const TensorEntry& entry = catalogue.at(use.tensor_name(expert));
      known.insert(entry.name);
      if (entry.shape != use.shape) {
        fail_with_hint(ErrorKind::kBadFile,
                       format("{}: tensor {} has shape {}, the config asks for {}", catalogue.origin(), entry.name,
                              to_string(entry.shape), to_string(use.shape)),
                       "config and weights do not belong together; fetch both again");
      }
      if (const DType first = block_dtype(use, catalogue); entry.dtype != first) {
        fail(ErrorKind::kUnsupported,
             "{}: tensor {} is {}, but {} is {}: experts of one layer with different element types", catalogue.origin(),
             entry.name, to_string(entry.dtype), use.tensor_name(0), to_string(first));
      }
      if (!is_float(entry.dtype) && !is_quantised(entry.dtype)) {
        fail(ErrorKind::kUnsupported, "{}: tensor {} has element type {}", catalogue.origin(), entry.name,
             to_string(entry.dtype));
      }
    }
  }
  const bool tied = known.contains("model.embed_tokens.weight") && !known.contains("lm_head.weight");
  for (const TensorEntry& entry : catalogue.entries()) {
    if (known.contains(entry.name) || may_be_ignored(entry.name) || (tied && entry.name == "lm_head.weight")) continue;
    fail_with_hint(ErrorKind::kUnsupported,
                   format("{}: tensor {} {} has no place in this architecture", catalogue.origin(), entry.name,
                          to_string(entry.shape)),
                   "the model differs from the one its config names; computing without the tensor would be wrong");
  }
}

ShardDims shard_dims(const ModelConfig& config, std::span<const TensorUse> table, const TensorCatalogue& catalogue) {
  constexpr std::int64_t kChannelUnit = 16;  // plain dtypes: 32 bytes of bf16, a sector of device memory
  ShardDims dims{.num_attention_heads = config.num_attention_heads,
                 .num_key_value_heads = config.num_key_value_heads,
                 .intermediate_size = config.intermediate_size,
                 .intermediate_unit = kChannelUnit,
                 .moe_intermediate_size = config.moe_layer.empty() ? 0 : config.moe_intermediate_size,
                 .moe_intermediate_unit = kChannelUnit,
                 .vocab_size = config.vocab_size};
  for (const TensorUse& use : table) {
    if (use.slot != Slot::kDown && use.slot != Slot::kExpertDown) continue;
    const std::int64_t block = dtype_info(block_dtype(use, catalogue)).block_size;
    std::int64_t& unit = use.slot == Slot::kDown ? dims.intermediate_unit : dims.moe_intermediate_unit;
    unit = std::lcm(unit, block);
  }
  return dims;
}

TensorPart tensor_part(const TensorUse& use, const ModelConfig& config, const RankShard& shard, DType dtype) {
  const auto scaled = [](ShardRange range, std::int64_t factor) {
    return ShardRange{range.begin * factor, range.end * factor};
  };
  const bool matrix = !use.is_vector();
  const int last = use.shape.num_dims() - 1;
  TensorPart part{.rows = {0, use.num_rows}, .cols = {0, matrix ? use.shape[last] : 0}};
  if (use.num_experts > 0) part.rows.end = use.shape[last - 1];
  ShardRange own_cols = part.cols;
  switch (use.shard) {
    case Shard::kReplicated:
      break;
    case Shard::kRowsByVocab:
      part.rows = shard.vocab;
      break;
    case Shard::kRowsByQueryHead:
      part.rows = scaled(shard.query_heads, config.head_dim);
      break;
    case Shard::kRowsByKvHead:
      part.rows = scaled(shard.kv_heads, config.head_dim);
      break;
    case Shard::kColsByQueryHead:
      own_cols = scaled(shard.query_heads, config.head_dim);
      break;
    case Shard::kRowsByIntermediate:
      part.rows = shard.intermediate;
      break;
    case Shard::kColsByIntermediate:
      own_cols = shard.intermediate;
      break;
    case Shard::kRowsByMoeIntermediate:
      part.rows = shard.moe_intermediate;
      break;
    case Shard::kColsByMoeIntermediate:
      own_cols = shard.moe_intermediate;
      break;
  }
  if (matrix) {
    const std::int64_t block = dtype_info(dtype).block_size;
    part.cols = own_cols.size() == 0
                    ? ShardRange{0, 0}
                    : ShardRange{own_cols.begin / block * block, (own_cols.end + block - 1) / block * block};
    part.col_pad = own_cols.size() == 0 ? 0 : own_cols.begin - part.cols.begin;
  }
  part.rows.begin += use.first_row;
  part.rows.end += use.first_row;
  return part;
}

RankBytes rank_bytes(std::span<const TensorUse> table, const ModelConfig& config, const TensorCatalogue& catalogue,
                     const RankShard& shard) {
  RankBytes bytes;
  for (const TensorUse& use : table) {
    const DType dtype = block_dtype(use, catalogue);
    const TensorPart part = tensor_part(use, config, shard, dtype);
    const std::int64_t row_elements = use.is_vector() ? 1 : part.cols.size();
    const std::uint64_t size = static_cast<std::uint64_t>(part.rows.size()) *
                               (use.is_vector() ? sizeof(float) : dtype_bytes(dtype, row_elements)) *
                               static_cast<std::uint64_t>(std::max<std::int64_t>(use.num_experts, 1));
    switch (use.slot) {
      case Slot::kEmbedding:
      case Slot::kOutput:
        bytes.embedding += size;
        break;
      case Slot::kWq:
      case Slot::kWk:
      case Slot::kWv:
      case Slot::kWo:
        bytes.attention += size;
        break;
      case Slot::kGate:
      case Slot::kUp:
      case Slot::kDown:
      case Slot::kExpertGate:
      case Slot::kExpertUp:
      case Slot::kExpertDown:
        bytes.mlp += size;
        break;
      default:
        bytes.other += size;
        break;
    }
  }
  return bytes;
}

std::vector<DummyTensor> dummy_tensors(std::span<const TensorUse> table, const ModelConfig& config) {
  std::vector<DummyTensor> tensors;
  std::set<std::string> seen;  // fused tensors serve several slots
  for (const TensorUse& use : table) {
    for (std::int64_t expert = 0; expert < (use.one_tensor_an_expert() ? use.num_experts : 1); ++expert) {
      std::string name = use.tensor_name(expert);
      if (!seen.insert(name).second) continue;
      DummyKind kind = DummyKind::kMatrix;
      if (use.slot == Slot::kEmbedding) kind = DummyKind::kSmall;
      if (use.is_vector()) {
        const bool norm = name.find("norm") != std::string::npos && config.norm_weight_offset == 0;
        kind = norm ? DummyKind::kNorm : DummyKind::kSmall;
      }
      tensors.push_back({std::move(name), DType::kBF16, use.shape, kind});
    }
  }
  return tensors;
}

}  // namespace tandem
