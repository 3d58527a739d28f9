#include "weights/tensor_catalogue.h"

#include <gtest/gtest.h>

#include "weights/weights_testing.h"

namespace tandem {
namespace {

TensorEntry entry(std::string name, std::size_t bytes = 1) {
  TensorEntry made;
  made.name = std::move(name);
  made.bytes = bytes;
  return made;
}

TEST(TensorCatalogue, FindsInAnyOrderAndSumsBytes) {
  const TensorCatalogue catalogue("m", {entry("c", 4), entry("a", 1), entry("b", 2)});
  EXPECT_EQ(catalogue.total_bytes(), 7u);
  EXPECT_EQ(catalogue.entries()[0].name, "a");
  EXPECT_EQ(catalogue.at("b").bytes, 2u);
  EXPECT_EQ(catalogue.find("d"), nullptr);
}

TEST(TensorCatalogue, SuggestsTheMostSimilarNames) {
  const TensorCatalogue catalogue("model.gguf", {entry("model.layers.0.self_attn.q_proj.weight"),
                                                 entry("model.layers.1.self_attn.q_proj.weight"), entry("x")});
  test::expect_error(ErrorKind::kBadFile,
                     {"model.gguf", "\"model.layers.0.self_attn.qproj.weight\"",
                      "similar names are \"model.layers.0.self_attn.q_proj.weight\", \"model.layers.1"},
                     [&] { catalogue.at("model.layers.0.self_attn.qproj.weight"); });
  test::expect_error(ErrorKind::kBadFile, {"none of its 3 tensors"}, [&] { catalogue.at("lm_head.weight"); });
}

TEST(TensorCatalogue, RefusesANameTwice) {
  test::expect_error(ErrorKind::kBadFile, {"m", "\"a\""}, [] { TensorCatalogue("m", {entry("a"), entry("a")}); });
  test::expect_error(ErrorKind::kBadFile, {"\"a\""}, [] { TensorCatalogue("m", {entry("a")}, {{"a", "is odd"}}); });
}

}  // namespace
}  // namespace tandem
