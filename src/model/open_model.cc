#include "model/open_model.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "device/stream.h"
#include "model/dummy_shapes.h"
#include "weights/gguf/gguf_file.h"
#include "weights/weight_source.h"

namespace tandem {
namespace {

constexpr std::uint64_t kDummySeed = 1;
constexpr std::string_view kModelKinds =
    "a model is a folder with config.json and .safetensors files, a .gguf file, or dummy:NAME";

void open_dummy_model(OpenedModel& opened) {
  const std::string name = opened.name.substr(kDummyPrefix.size());
  if (name.find('/') != std::string::npos || name.ends_with(".json")) {
    opened.config = parse_hf_config(read_text_file(name), name);
  } else {
    opened.config = parse_hf_config(dummy_config(name), opened.name);
  }
  opened.table = tensor_table(opened.config, WeightFormat::kSafetensors);
  opened.source = open_dummy(opened.name, dummy_tensors(opened.table, opened.config), kDummySeed);
}

void open_gguf_model(OpenedModel& opened) {
  const auto file = std::make_shared<const GgufFile>(opened.name);
  opened.config = config_from_gguf(*file, file->catalogue());
  opened.table = tensor_table(opened.config, WeightFormat::kGguf);
  opened.source = open_gguf(file);
  if (const TensorEntry* factors = file->catalogue().find("rope_freqs.weight")) {
    const Stream stream = Stream::cpu(1);
    const OwnedTensor loaded = opened.source->load_vector(stream, *factors, 0, factors->shape.num_elements());
    const float* values = loaded.tensor.data<float>();
    opened.rope_freq_factors.assign(values, values + loaded.tensor.num_elements());
  }
}

void open_folder(OpenedModel& opened, const std::filesystem::path& folder) {
  const std::filesystem::path config = folder / "config.json";
  if (!file_exists(config)) {
    fail_with_hint(ErrorKind::kNotFound, format("{} has no config.json", folder.string()), std::string(kModelKinds));
  }
  opened.config = parse_hf_config(read_text_file(config), config.string());
  opened.generation = read_generation_config(folder);
  opened.table = tensor_table(opened.config, WeightFormat::kSafetensors);
  opened.source = open_safetensors(folder);
}

[[noreturn]] void refuse_missing(const std::string& name) {
  const bool hub_id = std::count(name.begin(), name.end(), '/') == 1 && !name.starts_with("/") &&
                      !name.starts_with(".") && !name.ends_with("/");
  if (hub_id) {
    fail_with_hint(ErrorKind::kNotFound,
                   format("there is no folder {}; hub ids are not fetched: Tandem reads local files only", name),
                   "download the model first, then give its folder or its .gguf file");
  }
  fail_with_hint(ErrorKind::kNotFound, format("there is no file or folder {}", name), std::string(kModelKinds));
}

}  // namespace

std::vector<RankShard> OpenedModel::shard_plan(int world_size) const {
  if (world_size < 1 || world_size > kMaxWorldSize) {  // before a vector of that size is made
    fail_with_hint(ErrorKind::kInvalidArgument, format("a model cannot be split over {} ranks", world_size),
                   format("use 1 to {} ranks", kMaxWorldSize));
  }
  return make_shard_plan(shard_dims(config, table, source->catalogue()),
                         std::vector<double>(static_cast<std::size_t>(world_size), 1.0));
}

OpenedModel open_model(const std::string& model) {
  OpenedModel opened{.name = model};
  const std::filesystem::path path(model);
  if (model.starts_with(kDummyPrefix)) {
    open_dummy_model(opened);
  } else if (folder_exists(path)) {
    open_folder(opened, path);
  } else if (!file_exists(path)) {
    refuse_missing(model);
  } else if (path.extension() == ".bin" || path.extension() == ".pt" || path.extension() == ".pth") {
    fail_with_hint(ErrorKind::kUnsupported, format("{} is a PyTorch checkpoint, which is not supported", model),
                   "convert it to safetensors, or use a GGUF file");
  } else if (path.extension() == ".safetensors") {
    fail_with_hint(ErrorKind::kInvalidArgument, format("{} is one file of a model", model),
                   "give the folder that holds it together with config.json");
  } else {
    open_gguf_model(opened);
  }
  check_tensors(opened.table, opened.source->catalogue());
  return opened;
}

}  // namespace tandem
