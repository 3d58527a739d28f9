// libFuzzer target: one GGUF file, with its tokenizer. Anything but an Error, or an Error that blames ourselves, is a
// finding.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "load_everything.h"
#include "tokenizer/gguf_tokenizer.h"
#include "use_tokenizer.h"
#include "weights/gguf/gguf_file.h"

namespace {

template <class Getter>
void get(const tandem::GgufFile& file, Getter getter, std::string_view key) {
  try {
    (file.*getter)(key);
  } catch (const tandem::Error& error) {
    if (error.kind() == tandem::ErrorKind::kInternal) std::abort();
  }
}

// Most files have none, or a broken one: what holds the tensors is read all the same.
void build_tokenizer(const tandem::GgufFile& file) {
  try {
    tandem::fuzz::use_tokenizer(tandem::make_gguf_tokenizer(tandem::read_gguf_tokenizer(file), file.origin()));
  } catch (const tandem::Error& error) {
    if (error.kind() == tandem::ErrorKind::kInternal) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tandem;
  try {
    const GgufFile file({reinterpret_cast<const std::byte*>(data), size}, "fuzz.gguf");
    for (const GgufValue& value : file.values()) {
      get(file, &GgufFile::find_u64, value.key);
      get(file, &GgufFile::find_i64, value.key);
      get(file, &GgufFile::find_f32, value.key);
      get(file, &GgufFile::find_bool, value.key);
      get(file, &GgufFile::find_string, value.key);
      get(file, &GgufFile::find_strings, value.key);
      get(file, &GgufFile::find_i32s, value.key);
      get(file, &GgufFile::find_f32s, value.key);
      get(file, &GgufFile::find_bools, value.key);
    }
    build_tokenizer(file);
    fuzz::load_everything(file.catalogue());
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInternal) std::abort();
  }
  return 0;
}
