#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/quote.h"
#include "weights/mapped_source.h"
#include "weights/safetensors/safetensors.h"
#include "weights/weight_source.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr const char* kIncomplete = "the folder is incomplete or mixes two checkpoints; fetch it again";

/// Whether the folder has something of this name, a broken link included: opening it then says what is wrong.
bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

/// Throws for a folder without safetensors, by what it holds instead.
[[noreturn]] void refuse_folder(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error == std::errc::no_such_file_or_directory)
    fail(ErrorKind::kNotFound, "there is no folder {}", folder.string());
  if (error == std::errc::not_a_directory) fail(ErrorKind::kBadFile, "{} is not a folder", folder.string());
  if (error) fail(ErrorKind::kUnreadable, "cannot list the folder {}: {}", folder.string(), error.message());
  std::sort(names.begin(), names.end());
  const auto first_with = [&](std::initializer_list<std::string_view> endings) {
    return std::find_if(names.begin(), names.end(), [&](const std::string& name) {
      return std::any_of(endings.begin(), endings.end(), [&](std::string_view end) { return name.ends_with(end); });
    });
  };
  const std::string missing = format("{} holds neither {} nor {}", folder.string(), kSingleFile, kIndexFile);
  if (const auto name = first_with({".bin", ".bin.index.json", ".pt", ".pth"}); name != names.end()) {
    fail_with_hint(ErrorKind::kUnsupported, format("{}, but {}, a PyTorch checkpoint", missing, quote(*name)),
                   "convert it to safetensors (save_pretrained of transformers writes it), or fetch the model's "
                   "safetensors files");
  }
  if (const auto name = first_with({".gguf"}); name != names.end()) {
    fail_with_hint(ErrorKind::kNotFound, missing, "to use the GGUF file in it, pass " + (folder / *name).string());
  }
  if (const auto name = first_with({".safetensors"}); name != names.end()) {
    fail_with_hint(ErrorKind::kNotFound, format("{}, but {}", missing, quote(*name)),
                   format("rename a checkpoint of one file to {}; one of several files needs its index", kSingleFile));
  }
  fail_with_hint(ErrorKind::kNotFound, missing, "pass the folder of a Hugging Face checkpoint, or a .gguf file");
}

/// The index's weight_map: which tensors each shard holds.
std::map<std::string, std::vector<std::string>> read_index(const fs::path& path) {
  const Json index = read_json_file(path);
  const auto weight_map = index.is_object() ? index.find("weight_map") : index.end();
  if (weight_map == index.end() || !weight_map->is_object()) {
    fail(ErrorKind::kBadFile, "{}: there is no object weight_map", path.string());
  }
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [tensor, value] : weight_map->get_ref<const Json::object_t&>()) {
    const std::string shard = value.is_string() ? value.get<std::string>() : "";
    // A plain name only: an index must not be able to point out of its folder.
    if (shard.empty() || shard == "." || shard == ".." ||
        shard.find_first_of(std::string_view("/\\\0", 3)) != shard.npos) {
      fail(ErrorKind::kBadFile, "{}: weight_map gives tensor {} the file {}, which is no plain file name",
           path.string(), quote(tensor), value.is_string() ? quote(shard) : quote(value.type_name()));
    }
    shards[shard].push_back(tensor);
  }
  return shards;
}

/// Throws unless the shard holds exactly the tensors (in order of name) that the index gives it.
void check_shard(const fs::path& index, const fs::path& file, const std::vector<std::string>& expected,
                 const SafetensorsFile& shard) {
  std::vector<std::string_view> found;
  for (const TensorEntry& entry : shard.entries) found.push_back(entry.name);
  for (const UnusableTensor& tensor : shard.unusable) found.push_back(tensor.name);
  std::sort(found.begin(), found.end());
  const auto [want, have] = std::mismatch(expected.begin(), expected.end(), found.begin(), found.end());
  if (want == expected.end() && have == found.end()) return;
  if (have == found.end() || (want != expected.end() && *want < *have)) {
    fail_with_hint(ErrorKind::kBadFile,
                   format("{} lists tensor {} in {}, which does not hold it", index.string(), quote(*want),
                          quote(file.filename().string())),
                   kIncomplete);
  }
  fail_with_hint(ErrorKind::kBadFile,
                 format("{} holds tensor {}, which {} does not list there", file.string(), quote(*have),
                        quote(index.filename().string())),
                 kIncomplete);
}

}  // namespace

std::unique_ptr<WeightSource> open_safetensors(const std::filesystem::path& folder) {
  auto files = std::make_shared<std::vector<MappedFile>>();
  SafetensorsFile all;
  const auto open = [&](const fs::path& path) {
    const MappedFile& file = files->emplace_back(path);
    SafetensorsFile parsed = parse_safetensors(file.bytes(), path);
    all.entries.insert(all.entries.end(), parsed.entries.begin(), parsed.entries.end());
    all.unusable.insert(all.unusable.end(), parsed.unusable.begin(), parsed.unusable.end());
    return parsed;
  };
  if (const fs::path single = folder / kSingleFile; is_there(single)) {
    open(single);
  } else if (const fs::path index = folder / kIndexFile; is_there(index)) {
    for (const auto& [name, tensors] : read_index(index)) {
      const fs::path shard = folder / name;
      if (!is_there(shard)) {
        fail_with_hint(ErrorKind::kNotFound, format("{} lists {}, which is not there", index.string(), quote(name)),
                       kIncomplete);
      }
      check_shard(index, shard, tensors, open(shard));
    }
  } else {
    refuse_folder(folder);
  }
  TensorCatalogue catalogue(folder.string(), std::move(all.entries), std::move(all.unusable));
  return std::make_unique<MappedSource>(std::move(catalogue), std::move(files));
}

}  // namespace tandem
