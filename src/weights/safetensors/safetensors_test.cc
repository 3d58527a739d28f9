#include "weights/safetensors/safetensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <numeric>

#include "base/half.h"
#include "base/json.h"
#include "weights/mapped_source.h"
#include "weights/weight_source.h"
#include "weights/weights_testing.h"

namespace tandem {
namespace {

using test::expect_error;
using test::raw;
using test::safetensors_file;
using test::TempFolder;

SafetensorsFile parse(std::string_view bytes) {
  return parse_safetensors(test::as_bytes(bytes), "x.safetensors");
}

/// A header of one tensor.
std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return format(R"({{"a":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", dtype, shape, offsets);
}

// Two tensors and metadata, 6 + 16 bytes of data; "norm" is not aligned.
const std::string kSmall =
    safetensors_file(R"({"__metadata__":{"format":"pt"},"norm":{"dtype":"F16","shape":[3],"data_offsets":[0,6]},)"
                     R"("w":{"dtype":"F32","shape":[2,2],"data_offsets":[6,22]}})",
                     raw(std::vector<std::uint16_t>{0x3c00, 0x4000, 0xc200}) + raw(std::vector<float>{1, 2, 3, 4}));

TEST(Safetensors, ReadsNamesShapesAndPlaces) {
  const SafetensorsFile file = parse(kSmall);
  ASSERT_EQ(file.entries.size(), 2u);
  const TensorEntry& w = file.entries[1];
  EXPECT_EQ(w.name, "w");
  EXPECT_EQ(w.dtype, DType::kF32);
  EXPECT_EQ(w.shape, (Shape{2, 2}));
  EXPECT_EQ(w.bytes, 16u);
  EXPECT_EQ(w.file, "x.safetensors");
  EXPECT_EQ(w.offset, kSmall.size() - 16);
  EXPECT_EQ(w.data, test::as_bytes(kSmall).data() + kSmall.size() - 16);
  EXPECT_TRUE(file.unusable.empty());
}

TEST(Safetensors, RefusesAFileCutAtAnyByte) {
  for (std::size_t size = 0; size < kSmall.size(); ++size) {
    const std::string cut = kSmall.substr(0, size);  // an allocation of its own, so that a sanitizer sees overreads
    EXPECT_THROW(parse(cut), Error) << size << " bytes";
  }
}

TEST(Safetensors, LoadsOrRefusesEveryFlippedBit) {
  const std::size_t header_end = kSmall.size() - 22;
  int loaded = 0;
  for (std::size_t bit = 0; bit < header_end * 8; ++bit) {
    std::string flipped = kSmall;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    try {
      for (const TensorEntry& entry : parse(flipped).entries) {
        ASSERT_GE(entry.data, test::as_bytes(flipped).data());
        ASSERT_LE(entry.offset + entry.bytes, flipped.size());
        ASSERT_EQ(dtype_bytes(entry.dtype, entry.shape.num_elements()), entry.bytes);
      }
      ++loaded;
    } catch (const Error& error) {
      ASSERT_NE(error.kind(), ErrorKind::kInternal) << error.what();
    }
  }
  EXPECT_GT(loaded, 0);  // e.g. other letters in names
}

TEST(Safetensors, RefusesBadLengthFields) {
  expect_error(ErrorKind::kBadFile, {"x.safetensors", "3 bytes are too few"}, [] { parse("abc"); });
  expect_error(ErrorKind::kBadFile, {"100000001 bytes, is over"},
               [] { parse(raw(std::uint64_t{100'000'001}) + "{}"); });
  expect_error(ErrorKind::kBadFile, {"over the format's limit"}, [] { parse(raw(~std::uint64_t{0}) + "{}"); });
  expect_error(ErrorKind::kBadFile, {"3 bytes, reaches past the end of the file (10 bytes)"},
               [] { parse(raw(std::uint64_t{3}) + "{}"); });
  EXPECT_TRUE(parse(safetensors_file("{}   ", "")).entries.empty());  // trailing blanks are padding
}

TEST(Safetensors, RefusesContradictions) {
  struct Case {
    std::string header;
    std::size_t data_bytes;
    std::string message;
  };
  const std::vector<Case> cases = {
      {"[]", 0, "does not start with"},
      {" {}", 0, "does not start with"},
      {"{\"a\":", 0, "broken JSON at byte"},
      {"{\"a\":{},\"a\":{}}", 0, "twice"},
      {"{\"a\":3}", 0, "not described by an object"},
      {"{\"a\":{}}", 0, "tensor \"a\" has no dtype"},
      {R"({"__metadata__":{"a":1}})", 0, "__metadata__"},
      {R"({"a":{"dtype":7,"shape":[1],"data_offsets":[0,1]}})", 1, "dtype is not a string"},
      {one("U8", "3", "[0,1]"), 1, "shape is not an array"},
      {one("U8", "[-1]", "[0,1]"), 1, "not a whole number"},
      {one("U8", "[1.5]", "[0,1]"), 1, "not a whole number"},
      {one("U8", "[1e30]", "[0,1]"), 1, "not a whole number"},
      {one("U8", "[\"1\"]", "[0,1]"), 1, "not a whole number"},
      {one("U8", "[1]", "[0]"), 1, "not a pair"},
      {one("U8", "[1]", "[0,1,2]"), 1, "not a pair"},
      {one("U8", "[1]", "[-1,1]"), 1, "not a whole number"},
      {one("U8", "[1]", "[1,0]"), 1, "not within the 1 bytes"},
      {one("U8", "[2]", "[0,2]"), 1, "not within the 1 bytes"},
      {one("U8", "[1]", "[18446744073709551615,18446744073709551615]"), 1, "not within"},
      {one("U8", "[2]", "[0,1]"), 1, "2 elements of U8 do not fill bytes 0 to 1"},
      {one("F32", "[1]", "[0,2]"), 2, "1 elements of F32"},
      {one("F4", "[3]", "[0,1]"), 1, "3 elements of F4"},
      {one("U8", "[4294967296,4294967296]", "[0,0]"), 0, "does not fit 63 bits"},
      {one("U8", "[0,4294967296,4294967296]", "[0,0]"), 0, "does not fit 63 bits"},
      {one("U8", "[18446744073709551615]", "[0,0]"), 0, "does not fit 63 bits"},
      {one("F64", "[4611686018427387904]", "[0,0]"), 0, "do not fill"},
      {one("U8", "[1]", "[1,2]"), 2, "bytes 0 to 1 of the data, before tensor \"a\""},
      {one("U8", "[1]", "[0,1]"), 2, "bytes 1 to 2 of the data, after the last tensor"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
       3, "tensors \"a\" (bytes 0 to 2) and \"b\" (bytes 1 to 3) overlap"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
       2, "overlap"},
  };
  for (const Case& bad : cases) {
    SCOPED_TRACE(bad.header);
    expect_error(ErrorKind::kBadFile, {"x.safetensors", bad.message},
                 [&] { parse(safetensors_file(bad.header, std::string(bad.data_bytes, 'x'))); });
  }
}

TEST(Safetensors, AcceptsEmptyTensorsAndScalars) {
  const SafetensorsFile file = parse(safetensors_file(
      R"({"e":{"dtype":"F32","shape":[0,5],"data_offsets":[0,0]},"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
      R"("t":{"dtype":"F16","shape":[3,0],"data_offsets":[4,4]}})",
      raw(1.5f)));
  ASSERT_EQ(file.entries.size(), 3u);
  EXPECT_EQ(file.entries[1].shape.num_elements(), 1);
}

TEST(Safetensors, RefusesUnusableTensorsOnlyWhenAsked) {
  const SafetensorsFile file = parse(safetensors_file(
      R"({"f8":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]},"i64":{"dtype":"I64","shape":[1],"data_offsets":[2,10]},)"
      R"("new":{"dtype":"X9","shape":[1],"data_offsets":[10,11]},"ok":{"dtype":"U8","shape":[1],"data_offsets":[11,12]},)"
      R"("five":{"dtype":"U8","shape":[1,1,1,1,1],"data_offsets":[12,13]}})",
      std::string(13, '\0')));
  const TensorCatalogue catalogue("x", file.entries, file.unusable);
  EXPECT_NE(catalogue.find("ok"), nullptr);
  EXPECT_EQ(catalogue.find("other"), nullptr);
  expect_error(ErrorKind::kUnsupported, {"\"f8\" has element type F8_E4M3"}, [&] { catalogue.find("f8"); });
  expect_error(ErrorKind::kUnsupported, {"\"i64\" has element type I64"}, [&] { catalogue.at("i64"); });
  expect_error(ErrorKind::kUnsupported, {"unknown element type \"X9\""}, [&] { catalogue.at("new"); });
  expect_error(ErrorKind::kUnsupported, {"has 5 dimensions"}, [&] { catalogue.at("five"); });
}

TEST(Safetensors, NamesCannotSteerTheTerminal) {
  const std::string name = "\\u001b[2J" + std::string(500, 'n');
  expect_error(ErrorKind::kBadFile, {"\"?[2Jnnn", "[... 384 bytes ...]"},
               [&] { parse(safetensors_file("{\"" + name + "\":3}", "")); });
}

TEST(SafetensorsFolder, LoadsViewsCopiesWhatIsMisalignedAndWidensVectors) {
  const TempFolder folder;
  folder.write("model.safetensors", kSmall);
  const auto source = open_safetensors(folder.path());
  EXPECT_EQ(source->origin(), folder.path().string());
  EXPECT_EQ(source->catalogue().total_bytes(), 22u);
  const Stream stream = Stream::cpu(2);
  const TensorEntry& w = source->catalogue().at("w");
  ASSERT_NE(w.offset % 4, 0u) << "the case needs a misaligned tensor";
  const LoadedMatrix right = source->load_matrix(stream, w, {.row_end = 2, .col_begin = 1, .col_end = 2});
  ASSERT_EQ(reinterpret_cast<std::uintptr_t>(right.matrix.data) % 4, 0u);
  EXPECT_EQ(*reinterpret_cast<const float*>(right.matrix.row(0)), 2.0f);
  EXPECT_EQ(*reinterpret_cast<const float*>(right.matrix.row(1)), 4.0f);
  const OwnedTensor norm = source->load_vector(stream, source->catalogue().at("norm"), 1, 3);
  EXPECT_EQ(norm.tensor.data<float>()[0], 2.0f);
  EXPECT_EQ(norm.tensor.data<float>()[1], -3.0f);
}

TEST(SafetensorsFolder, ReadsWhatTheSafetensorsPackageWrites) {
  const TempFolder folder;
  std::filesystem::copy_file(TANDEM_SOURCE_DIR "/src/weights/testdata/pypi.safetensors",
                             folder.path() / "model.safetensors");
  const auto source = open_safetensors(folder.path());
  const TensorCatalogue& catalogue = source->catalogue();
  EXPECT_EQ(catalogue.entries().size(), 7u);
  EXPECT_EQ(catalogue.unusable().size(), 3u);
  EXPECT_EQ(catalogue.at("q.weight").shape, (Shape{3, 4}));
  EXPECT_EQ(catalogue.at("q.weight").dtype, DType::kBF16);
  EXPECT_EQ(catalogue.at("half").shape, (Shape{2, 2, 2}));
  EXPECT_EQ(catalogue.at("ids").dtype, DType::kI32);
  EXPECT_EQ(catalogue.at("empty").shape, (Shape{0, 4}));
  EXPECT_EQ(catalogue.at("scalar").shape, Shape{});
  for (const TensorEntry& entry : catalogue.entries()) {
    for (std::size_t i = 0; i < entry.bytes; ++i) {
      ASSERT_EQ(static_cast<unsigned>(entry.data[i]), (31 * i + 17 * entry.name.size()) % 251) << entry.name << i;
    }
  }
  expect_error(ErrorKind::kUnsupported, {"\"mask\" has element type BOOL"}, [&] { catalogue.at("mask"); });
}

TEST(SafetensorsFolder, SlicesRowsColumnsAndExpertsInPlace) {
  const TempFolder folder;
  std::vector<std::uint16_t> values(2 * 4 * 6);
  std::iota(values.begin(), values.end(), std::uint16_t{0});
  std::string header = R"({"e":{"dtype":"BF16","shape":[2,4,6],"data_offsets":[0,96]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  folder.write("model.safetensors", safetensors_file(header, raw(values)));
  const auto source = open_safetensors(folder.path());
  const Stream stream = Stream::cpu(1);
  const TensorEntry& entry = source->catalogue().at("e");
  const LoadedMatrix part =
      source->load_matrix(stream, entry, {.expert = 1, .row_begin = 1, .row_end = 3, .col_begin = 2, .col_end = 5});
  EXPECT_EQ(part.storage.bytes(), 0u) << "an aligned part needs no copy";
  EXPECT_EQ(part.matrix.rows, 2);
  EXPECT_EQ(part.matrix.cols, 3);
  EXPECT_EQ(part.matrix.row_stride, 12u);
  EXPECT_EQ(reinterpret_cast<const std::uint16_t*>(part.matrix.row(0))[0], 24 + 6 + 2);
  EXPECT_EQ(reinterpret_cast<const std::uint16_t*>(part.matrix.row(1))[2], 24 + 12 + 4);
  const LoadedMatrix none = source->load_matrix(stream, entry, {.row_begin = 4, .row_end = 4, .col_end = 6});
  EXPECT_EQ(none.matrix.bytes(), 0u);

  std::size_t touched = 0;
  touch(stream, part.matrix, [&](std::size_t bytes) { touched += bytes; });
  touch(stream, none.matrix, {});
  EXPECT_EQ(touched, part.matrix.bytes());

  for (const MatrixRange& bad :
       {MatrixRange{.expert = 2, .row_end = 1, .col_end = 1}, MatrixRange{.expert = -1, .row_end = 1, .col_end = 1},
        MatrixRange{.row_end = 5, .col_end = 1}, MatrixRange{.row_begin = 2, .row_end = 1, .col_end = 1},
        MatrixRange{.row_end = 1, .col_begin = -1, .col_end = 1}, MatrixRange{.row_end = 1, .col_end = 7}}) {
    expect_error(ErrorKind::kInternal, {"\"e\""}, [&] { source->load_matrix(stream, entry, bad); });
  }
  expect_error(ErrorKind::kBadFile, {"\"e\"", "a vector of f32"}, [&] { source->load_vector(stream, entry, 0, 1); });
}

/// Two shards: a.safetensors holds x, b.safetensors holds y.
struct Sharded {
  Sharded() {
    folder.write("a.safetensors", safetensors_file(R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", "pq"));
    folder.write("b.safetensors", safetensors_file(R"({"y":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", "rs"));
  }
  std::unique_ptr<WeightSource> open(std::string_view weight_map) const {
    folder.write("model.safetensors.index.json", format(R"({{"metadata":{{}},"weight_map":{}}})", weight_map));
    return open_safetensors(folder.path());
  }
  TempFolder folder;
};

TEST(SafetensorsFolder, JoinsShards) {
  const Sharded shards;
  const auto source = shards.open(R"({"y":"b.safetensors","x":"a.safetensors"})");
  ASSERT_EQ(source->catalogue().entries().size(), 2u);
  EXPECT_EQ(source->catalogue().at("y").file, shards.folder.path() / "b.safetensors");
  EXPECT_EQ(static_cast<char>(source->catalogue().at("y").data[1]), 's');
}

TEST(SafetensorsFolder, RefusesAnIndexThatContradictsItsShards) {
  const Sharded shards;
  const auto refuse = [&](ErrorKind kind, std::string_view weight_map, const std::vector<std::string>& parts) {
    SCOPED_TRACE(weight_map);
    expect_error(kind, parts, [&] { shards.open(weight_map); });
  };
  refuse(ErrorKind::kNotFound, R"({"x":"a.safetensors","y":"c.safetensors"})",
         {"\"c.safetensors\", which is not there"});
  refuse(ErrorKind::kBadFile, R"({"x":"a.safetensors","y":"b.safetensors","z":"b.safetensors"})",
         {"lists tensor \"z\" in \"b.safetensors\", which does not hold it"});
  refuse(ErrorKind::kBadFile, R"({"x":"a.safetensors","w":"b.safetensors"})", {"lists tensor \"w\""});
  refuse(ErrorKind::kBadFile, R"({"x":"a.safetensors","z":"b.safetensors"})", {"holds tensor \"y\""});
  refuse(ErrorKind::kBadFile, R"({"x":"a.safetensors","y":"a.safetensors"})",
         {"lists tensor \"y\" in \"a.safetensors\""});
  for (const char* name :
       {"../a.safetensors", "/etc/passwd", "..", ".", "", "sub/a.safetensors", "..\\\\a", "a\\u0000b"}) {
    refuse(ErrorKind::kBadFile, format(R"({{"x":"{}"}})", name), {"no plain file name"});
  }
  refuse(ErrorKind::kBadFile, R"({"x":7})", {"no plain file name"});
  refuse(ErrorKind::kBadFile, "[]", {"no object weight_map"});
  refuse(ErrorKind::kBadFile, "{", {"model.safetensors.index.json: broken JSON"});
  shards.folder.write("b.safetensors",
                      safetensors_file(R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", "rs"));
  refuse(ErrorKind::kBadFile, R"({"x":"a.safetensors","y":"b.safetensors"})", {"holds tensor \"x\""});
}

TEST(SafetensorsFolder, RefusesOtherCheckpointsByName) {
  {
    const TempFolder folder;
    expect_error(ErrorKind::kNotFound, {folder.path().string(), "model.safetensors.index.json"},
                 [&] { open_safetensors(folder.path()); });
    folder.write("weights.safetensors", "");
    expect_error(ErrorKind::kNotFound, {"\"weights.safetensors\""}, [&] { open_safetensors(folder.path()); });
    folder.write("m.gguf", "");
    expect_error(ErrorKind::kNotFound, {"m.gguf"}, [&] { open_safetensors(folder.path()); });
    folder.write("pytorch_model.bin", "");
    expect_error(ErrorKind::kUnsupported, {"\"pytorch_model.bin\"", "convert it to safetensors"},
                 [&] { open_safetensors(folder.path()); });
    expect_error(ErrorKind::kNotFound, {"no folder"}, [&] { open_safetensors(folder.path() / "none"); });
    expect_error(ErrorKind::kBadFile, {"not a folder"}, [&] { open_safetensors(folder.path() / "m.gguf"); });
  }
}

TEST(SafetensorsFolder, ReportsWhatCannotBeRead) {
  const TempFolder folder;
  const std::filesystem::path file = folder.path() / "model.safetensors";
  std::filesystem::create_symlink(file, file);  // refused for every user, root too: a loop
  expect_error(ErrorKind::kUnreadable, {file.string()}, [&] { open_safetensors(folder.path()); });
  std::filesystem::remove(file);
  std::filesystem::create_symlink(folder.path() / "gone", file);
  expect_error(ErrorKind::kNotFound, {file.string()}, [&] { open_safetensors(folder.path()); });
  std::filesystem::remove(file);
  std::filesystem::create_directory(file);
  expect_error(ErrorKind::kBadFile, {file.string(), "not a regular file"}, [&] { open_safetensors(folder.path()); });
  std::filesystem::remove(file);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  expect_error(ErrorKind::kBadFile, {file.string(), "not a regular file"}, [&] { open_safetensors(folder.path()); });
}

TEST(SafetensorsFolder, ReportsMissingPermission) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read every file";
  const TempFolder folder;
  const auto file = folder.write("model.safetensors", kSmall);
  std::filesystem::permissions(file, std::filesystem::perms::none);
  expect_error(ErrorKind::kUnreadable, {file.string(), "Permission denied"}, [&] { open_safetensors(folder.path()); });
}

}  // namespace
}  // namespace tandem
