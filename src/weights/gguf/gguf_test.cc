#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <memory>

#include "base/clock.h"
#include "weights/gguf/gguf_file.h"
#include "weights/weight_source.h"
#include "weights/weights_testing.h"

namespace tandem {
namespace {

using test::expect_error;
using test::GgufWriter;
using test::raw;
using test::TempFolder;

constexpr std::uint32_t kU8 = 0, kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9, kU64 = 10;

GgufFile parse(std::string_view bytes) {
  return GgufFile(test::as_bytes(bytes), "x.gguf");
}

std::string array(std::uint32_t element, std::uint64_t count, std::string_view content) {
  return raw(element) + raw(count) + std::string(content);
}

/// A little of everything: metadata of several types, an f32 vector and a Q4_0 matrix of two rows.
GgufWriter small_writer() {
  GgufWriter writer;
  writer.value("general.architecture", kString, GgufWriter::string("llama"))
      .value("llama.block_count", kU32, raw(2u))
      .value("flag", kBool, raw(std::uint8_t{1}))
      .value("tokens", kArray,
             array(kString, 3, GgufWriter::string("a") + GgufWriter::string("") + GgufWriter::string("b c")))
      .value("types", kArray, array(kI32, 2, raw(std::vector<std::int32_t>{1, -1})))
      .tensor("norm", {4}, 0, raw(std::vector<float>{1, 2, 3, 4}))
      .tensor("w", {64, 2}, 2, std::string(72, 'q'));
  return writer;
}

TEST(GgufFile, ReadsMetadataAndTensors) {
  const std::string bytes = small_writer().file();
  const GgufFile file = parse(bytes);
  EXPECT_EQ(file.values().size(), 5u);
  EXPECT_EQ(file.find_string("general.architecture"), "llama");
  EXPECT_EQ(file.find_u64("llama.block_count"), 2u);
  EXPECT_EQ(file.find_i64("llama.block_count"), 2);
  EXPECT_EQ(file.find_bool("flag"), true);
  EXPECT_EQ(file.find_strings("tokens"), (std::vector<std::string_view>{"a", "", "b c"}));
  EXPECT_EQ(file.find_i32s("types"), (std::vector<std::int32_t>{1, -1}));
  EXPECT_EQ(file.find_u64("absent"), std::nullopt);
  EXPECT_EQ(file.require(&GgufFile::find_u64, "llama.block_count"), 2u);
  const TensorEntry& w = file.catalogue().at("w");
  EXPECT_EQ(w.shape, (Shape{2, 64})) << "outermost first";
  EXPECT_EQ(w.dtype, DType::kQ4_0);
  EXPECT_EQ(w.bytes, 72u);
  EXPECT_EQ(w.offset, bytes.size() - 72);
  EXPECT_EQ(static_cast<char>(*w.data), 'q');
}

TEST(GgufFile, GettersNameKeyExpectedAndActualType) {
  GgufWriter writer;
  writer.value("text", kString, GgufWriter::string("7"))
      .value("minus", kI32, raw(-1))
      .value("large", kU64, raw(~std::uint64_t{0}))
      .value("two", kBool, raw(std::uint8_t{2}))
      .value("wide", kArray, array(kU32, 1, raw(3'000'000'000u)))
      .value("flags", kArray, array(kBool, 2, std::string("\1\2")))
      .value("f", kF32, raw(1.5f));
  const std::string bytes = writer.file();
  const GgufFile file = parse(bytes);
  expect_error(ErrorKind::kBadFile, {"x.gguf", "\"text\" is string, expected an integer"},
               [&] { file.find_u64("text"); });
  expect_error(ErrorKind::kBadFile, {"\"f\" is f32, expected an integer"}, [&] { file.find_i64("f"); });
  expect_error(ErrorKind::kBadFile, {"\"minus\" is i32, expected f32"}, [&] { file.find_f32("minus"); });
  expect_error(ErrorKind::kBadFile, {"\"wide\" is array of 1 u32, expected string"}, [&] { file.find_string("wide"); });
  expect_error(ErrorKind::kBadFile, {"\"wide\" is array of 1 u32, expected array of strings"},
               [&] { file.find_strings("wide"); });
  expect_error(ErrorKind::kBadFile, {"\"text\" is string, expected array of f32"}, [&] { file.find_f32s("text"); });
  expect_error(ErrorKind::kBadFile, {"\"minus\" holds -1, outside the range of u64"}, [&] { file.find_u64("minus"); });
  expect_error(ErrorKind::kBadFile, {"18446744073709551615, outside the range of i64"},
               [&] { file.find_i64("large"); });
  expect_error(ErrorKind::kBadFile, {"\"wide\" holds 3000000000, outside the range of i32"},
               [&] { file.find_i32s("wide"); });
  expect_error(ErrorKind::kBadFile, {"\"two\" holds the bool 2"}, [&] { file.find_bool("two"); });
  expect_error(ErrorKind::kBadFile, {"\"flags\" holds the bool 2"}, [&] { file.find_bools("flags"); });
  expect_error(ErrorKind::kBadFile, {"x.gguf", "\"gone\" is missing"},
               [&] { file.require(&GgufFile::find_f32, "gone"); });
}

TEST(GgufFile, ReadsWhatTheGgufPackageWrites) {
  const GgufFile file(TANDEM_SOURCE_DIR "/src/weights/testdata/pypi.gguf");
  EXPECT_EQ(file.find_u64("t.u8"), 200u);
  EXPECT_EQ(file.find_i64("t.i8"), -100);
  EXPECT_EQ(file.find_u64("t.u16"), 60000u);
  EXPECT_EQ(file.find_i64("t.i16"), -30000);
  EXPECT_EQ(file.find_u64("t.u32"), 4000000000u);
  EXPECT_EQ(file.find_i64("t.i32"), -2000000000);
  EXPECT_EQ(file.find_u64("t.u64"), (std::uint64_t{1} << 63) + 5);
  EXPECT_EQ(file.find_i64("t.i64"), -(std::int64_t{1} << 62));
  EXPECT_EQ(file.find_f32("t.f32"), 10000.0f);
  EXPECT_EQ(file.find_f32("t.f64"), 0.5f);
  EXPECT_EQ(file.find_bool("t.bool"), true);
  EXPECT_EQ(file.find_string("t.string"), "h\xc3\xa9llo");
  const auto strings = file.find_strings("t.strings");
  ASSERT_EQ(strings->size(), 4u);
  EXPECT_EQ((*strings)[2], "\xc3\xbc");
  EXPECT_EQ((*strings)[3].size(), 100u);
  EXPECT_EQ(file.find_i32s("t.i32s"), (std::vector<std::int32_t>{1, -2, 3}));
  EXPECT_EQ(file.find_f32s("t.f32s"), (std::vector<float>{0.5f, -1.5f}));
  EXPECT_EQ(file.find_bools("t.bools"), (std::vector<bool>{true, false, true}));

  EXPECT_EQ(file.catalogue().entries().size(), 14u);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI32, DType::kQ4_0, DType::kQ4_1,
                            DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    const std::string name = "blk.0." + std::string(to_string(dtype));
    const TensorEntry& entry = file.catalogue().at(name);
    EXPECT_EQ(entry.dtype, dtype);
    const std::int64_t block = dtype_info(dtype).block_size;
    EXPECT_EQ(entry.shape, (Shape{3, block > 1 ? block : 4})) << name;
    for (std::size_t i = 0; i < entry.bytes; ++i) {
      ASSERT_EQ(static_cast<unsigned>(entry.data[i]), (31 * i + 17 * name.size()) % 251) << name << ", byte " << i;
    }
  }
  EXPECT_EQ(file.catalogue().at("experts").shape, (Shape{2, 3, 64}));
}

TEST(GgufFile, LoadsPartsOfQuantisedMatricesInPlace) {
  const auto file = std::make_shared<const GgufFile>(TANDEM_SOURCE_DIR "/src/weights/testdata/pypi.gguf");
  const auto source = open_gguf(file);
  const Stream stream = Stream::cpu(1);
  const TensorEntry& experts = source->catalogue().at("experts");
  const LoadedMatrix part =
      source->load_matrix(stream, experts, {.expert = 1, .row_begin = 1, .row_end = 3, .col_begin = 32, .col_end = 64});
  EXPECT_EQ(part.storage.bytes(), 0u);
  EXPECT_EQ(part.matrix.row_stride, 36u);
  EXPECT_EQ(part.matrix.row(1), experts.data + 3 * 36 + 2 * 36 + 18);
  expect_error(ErrorKind::kInternal, {"\"experts\"", "blocks of 32"},
               [&] { source->load_matrix(stream, experts, {.row_end = 1, .col_begin = 16, .col_end = 64}); });
  const OwnedTensor norm = source->load_vector(stream, source->catalogue().at("output_norm.weight"), 2, 5);
  EXPECT_EQ(norm.tensor.data<float>()[2], 4.0f);
  expect_error(ErrorKind::kBadFile, {"\"experts\"", "a vector of f32"},
               [&] { source->load_vector(stream, experts, 0, 1); });
  expect_error(ErrorKind::kBadFile, {"\"output_norm.weight\"", "a matrix"}, [&] {
    source->load_matrix(stream, source->catalogue().at("output_norm.weight"), {.row_end = 1, .col_end = 1});
  });
}

TEST(GgufFile, RefusesAFileCutAtAnyByte) {
  const std::string bytes = small_writer().file();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::string cut = bytes.substr(0, size);
    EXPECT_THROW(parse(cut), Error) << size << " bytes";
  }
}

TEST(GgufFile, LoadsOrRefusesEveryFlippedBit) {
  const std::string bytes = small_writer().file();
  int loaded = 0;
  for (std::size_t bit = 0; bit < (bytes.size() - 104) * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    try {
      const GgufFile file = parse(flipped);
      for (const TensorEntry& entry : file.catalogue().entries()) {
        ASSERT_LE(entry.offset + entry.bytes, flipped.size());
        ASSERT_EQ(dtype_bytes(entry.dtype, entry.shape.num_elements()), entry.bytes);
      }
      ++loaded;
      if (file.find("tokens") != nullptr) file.find_strings("tokens");
    } catch (const Error& error) {
      ASSERT_NE(error.kind(), ErrorKind::kInternal) << error.what();
    }
  }
  EXPECT_GT(loaded, 0);
}

TEST(GgufFile, RefusesOtherFilesByName) {
  expect_error(ErrorKind::kBadFile, {"x.gguf", "starts with \"GGML\""}, [] { parse("GGML" + raw(3u)); });
  expect_error(ErrorKind::kUnsupported, {"big-endian"}, [] { parse("GGUF" + raw(3u << 24)); });
  expect_error(ErrorKind::kUnsupported, {"GGUF version 1"}, [] { parse("GGUF" + raw(1u)); });
  expect_error(ErrorKind::kUnsupported, {"GGUF version 4"}, [] { parse("GGUF" + raw(4u)); });
  expect_error(ErrorKind::kBadFile, {"at byte 0"}, [] { parse(""); });
  GgufWriter old = small_writer();
  old.version = 2;
  EXPECT_EQ(parse(old.file()).catalogue().at("w").bytes, 72u);
  GgufWriter split;
  split.value("split.count", 2, raw(std::uint16_t{3}));
  expect_error(ErrorKind::kUnsupported, {"one of 3 parts", "llama-gguf-split --merge"}, [&] { parse(split.file()); });
  GgufWriter whole;
  whole.value("split.count", 2, raw(std::uint16_t{1}));
  EXPECT_NO_THROW(parse(whole.file()));
}

TEST(GgufFile, RefusesTensorTypesByNameAndNumber) {
  const std::vector<std::pair<std::uint32_t, std::string>> cases = {
      {10, "Q2_K (type 10)"},   {11, "Q3_K (type 11)"}, {16, "IQ2_XXS (type 16)"}, {20, "IQ4_NL (type 20)"},
      {23, "IQ4_XS (type 23)"}, {28, "F64 (type 28)"},  {34, "TQ1_0 (type 34)"},   {39, "MXFP4 (type 39)"}};
  for (const auto& [type, name] : cases) {
    GgufWriter writer;
    writer.tensor("w", {256}, type, std::string(2048, '\0'));
    const std::string bytes = writer.file();
    expect_error(ErrorKind::kUnsupported, {"x.gguf", "\"w\" is " + name}, [&] { parse(bytes); });
  }
  GgufWriter writer;
  writer.tensor("w", {256}, 999, "");
  expect_error(ErrorKind::kBadFile, {"\"w\" has the unknown type 999"}, [&] { parse(writer.file()); });
}

TEST(GgufFile, BelievesNoCount) {
  const auto head = [](std::uint64_t num_tensors, std::uint64_t num_values) {
    return "GGUF" + raw(3u) + raw(num_tensors) + raw(num_values);
  };
  for (const std::uint64_t huge : {std::uint64_t{1} << 30, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    expect_error(ErrorKind::kBadFile, {"at byte 8", "tensors do not fit"}, [&] { parse(head(huge, 0)); });
    expect_error(ErrorKind::kBadFile, {"at byte 16", "metadata values do not fit"}, [&] { parse(head(0, huge)); });
    for (const std::uint32_t element : {kU8, kF32, kString}) {
      GgufWriter writer;
      writer.value("k", kArray, array(element, huge, "0123456789012345"));
      expect_error(ErrorKind::kBadFile, {"x.gguf"}, [&] { parse(writer.file()); });
    }
    expect_error(ErrorKind::kBadFile, {"a metadata key of"},
                 [&] { parse(head(0, 1) + raw(huge) + std::string(20, 'k')); });
    GgufWriter string;
    string.value("k", kString, raw(huge) + "abc");
    expect_error(ErrorKind::kBadFile, {"a string of"}, [&] { parse(string.file()); });
  }
}

TEST(GgufFile, RefusesBadMetadata) {
  const auto refuse = [](ErrorKind kind, const std::string& message, const GgufWriter& writer) {
    expect_error(kind, {"x.gguf", message}, [&] { parse(writer.file()); });
  };
  refuse(ErrorKind::kBadFile, "\"k\" is there twice",
         GgufWriter().value("k", kU8, "1").value("j", kU8, "1").value("k", kU8, "2"));
  refuse(ErrorKind::kBadFile, "\"k\" has the unknown value type 13", GgufWriter().value("k", 13, "1"));
  refuse(ErrorKind::kBadFile, "unknown value type 77", GgufWriter().value("k", kArray, array(77, 1, "1")));
  refuse(ErrorKind::kUnsupported, "\"k\" is an array of arrays",
         GgufWriter().value("k", kArray, array(kArray, 1, array(kU8, 1, "1"))));
  for (const std::uint32_t alignment : {0u, 3u, 33u}) {
    refuse(ErrorKind::kBadFile, "general.alignment is", GgufWriter().value("general.alignment", kU32, raw(alignment)));
  }
  refuse(ErrorKind::kBadFile, "\"general.alignment\" is string",
         GgufWriter().value("general.alignment", kString, GgufWriter::string("32")));
}

TEST(GgufFile, RefusesBadTensors) {
  const auto refuse = [](const std::string& message, GgufWriter writer, std::size_t data_bytes = 256) {
    SCOPED_TRACE(message);
    const std::string bytes = writer.file() + std::string(data_bytes, '\0');
    expect_error(ErrorKind::kBadFile, {"x.gguf", message}, [&] { parse(bytes); });
  };
  const std::uint64_t large = std::uint64_t{1} << 62;
  refuse("\"w\" has 5 dimensions", GgufWriter().tensor_at("w", {1, 1, 1, 1, 1}, 0, 0));
  refuse("do not fit 63 bits", GgufWriter().tensor_at("w", {large, 4}, 0, 0));
  refuse("do not fit 63 bits", GgufWriter().tensor_at("w", {0, large, 4}, 0, 0));
  refuse("do not fit 63 bits", GgufWriter().tensor_at("w", {~std::uint64_t{0}}, 0, 0));
  refuse("bytes of tensor \"w\" do not fit 63 bits", GgufWriter().tensor_at("w", {large}, 0, 0));
  refuse("rows of 33 elements, not whole blocks of 32 q4_0", GgufWriter().tensor_at("w", {33}, 2, 0));
  refuse("rows of 128 elements, not whole blocks of 256 q6_k", GgufWriter().tensor_at("w", {128, 2}, 14, 0));
  refuse("offset 16 is no multiple of the alignment, 32", GgufWriter().tensor_at("w", {4}, 0, 16));
  refuse("past the end", GgufWriter().tensor_at("w", {65}, 0, 0));
  refuse("past the end", GgufWriter().tensor_at("w", {1}, 0, 256));
  refuse("past the end", GgufWriter().tensor_at("w", {1}, 0, ~std::uint64_t{0} - 31));
  refuse("past the end", GgufWriter().tensor_at("w", {1}, 0, 0), 0);
  refuse("\"v\" and \"w\" overlap", GgufWriter().tensor_at("w", {1}, 0, 32).tensor_at("v", {9}, 0, 0));
  refuse("overlap", GgufWriter().tensor_at("w", {1}, 0, 0).tensor_at("v", {1}, 0, 0));
  refuse("two tensors are named \"w\"", GgufWriter().tensor_at("w", {1}, 0, 0).tensor_at("w", {1}, 0, 32));
  // Fine: a gap, an empty tensor in the middle of another, a scalar.
  const std::string fine =
      GgufWriter().tensor_at("a", {16}, 0, 0).tensor_at("empty", {0, 3}, 0, 32).tensor_at("b", {}, 0, 128).file() +
      std::string(132, '\0');
  EXPECT_EQ(parse(fine).catalogue().at("empty").shape, (Shape{3, 0}));
}

TEST(GgufFile, HonoursTheAlignmentKey) {
  for (const std::uint32_t alignment : {1u, 8u, 4096u}) {
    GgufWriter writer;
    writer.alignment = alignment;
    writer.value("general.alignment", kU32, raw(alignment)).tensor("odd", {3}, 24 + 2, raw(std::vector<int>{1, 2, 3}));
    writer.tensor("f", {2, 2}, 0, raw(std::vector<float>{1, 2, 3, 4}));
    const std::string bytes = writer.file();
    const GgufFile file = parse(bytes);
    EXPECT_EQ(file.catalogue().at("f").offset % alignment, 0u);
    EXPECT_EQ(std::memcmp(file.catalogue().at("f").data, bytes.data() + bytes.size() - 16, 16), 0);
  }
}

TEST(GgufFile, OpensAHundredThousandTokensQuickly) {
  std::string tokens;
  constexpr std::uint64_t kTokens = 131072;
  for (std::uint64_t i = 0; i < kTokens; ++i) tokens += GgufWriter::string("token " + std::to_string(i));
  const std::string bytes = GgufWriter().value("tokens", kArray, array(kString, kTokens, tokens)).file();
  const Clock::time_point start = Clock::now();
  const GgufFile file = parse(bytes);
  const auto strings = file.find_strings("tokens");
  EXPECT_LT(seconds_since(start), 2.0);  // takes a few milliseconds; the bound leaves room for sanitizers
  ASSERT_EQ(strings->size(), kTokens);
  EXPECT_EQ(strings->back(), "token 131071");
}

TEST(GgufFile, ReportsWhatCannotBeRead) {
  const TempFolder folder;
  expect_error(ErrorKind::kNotFound, {"none.gguf"}, [&] { GgufFile(folder.path() / "none.gguf"); });
  expect_error(ErrorKind::kBadFile, {"not a regular file"}, [&] { GgufFile{folder.path()}; });
  expect_error(ErrorKind::kBadFile, {"empty.gguf"}, [&] { GgufFile(folder.write("empty.gguf", "")); });
  const auto loop = folder.path() / "loop.gguf";
  std::filesystem::create_symlink(loop, loop);
  expect_error(ErrorKind::kUnreadable, {"loop.gguf"}, [&] { GgufFile{loop}; });
}

TEST(GgufFile, MovesWithItsMapping) {
  GgufFile first(TANDEM_SOURCE_DIR "/src/weights/testdata/pypi.gguf");
  const std::string_view text = *first.find_string("t.string");
  const GgufFile second = std::move(first);
  EXPECT_EQ(second.find_string("t.string")->data(), text.data());
}

}  // namespace
}  // namespace tandem
