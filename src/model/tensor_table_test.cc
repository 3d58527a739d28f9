#include "model/tensor_table.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "model/open_model.h"

namespace tandem {
namespace {

TEST(TensorTable, SharesOfAllRanksAddUpToTheModel) {
  for (const char* name : {"dummy:smollm2-135m", "dummy:phi-3-mini", "dummy:gemma-2-9b", "dummy:qwen2.5-7b"}) {
    const OpenedModel opened = open_model(name);
    const auto whole = rank_bytes(opened.table, opened.config, opened.source->catalogue(), opened.shard_plan(1)[0]);
    for (int world_size : {2, 3, 5, 16}) {
      RankBytes sum;
      for (const RankShard& shard : opened.shard_plan(world_size)) {
        const RankBytes part = rank_bytes(opened.table, opened.config, opened.source->catalogue(), shard);
        sum.embedding += part.embedding;
        sum.mlp += part.mlp;
        sum.attention += part.attention;
      }
      EXPECT_EQ(sum.embedding, whole.embedding) << name << " " << world_size;
      EXPECT_EQ(sum.mlp, whole.mlp) << name << " " << world_size;
      if (world_size <= opened.config.num_key_value_heads)
        EXPECT_EQ(sum.attention, whole.attention);
      else
        EXPECT_GE(sum.attention, whole.attention);  // KV heads are held more than once
    }
  }
}

TEST(TensorTable, FusedTensorsServeTheirSlotsWithoutOverlap) {
  const OpenedModel opened = open_model("dummy:phi-3-mini");
  const auto plan = opened.shard_plan(3);
  std::int64_t rows = 0;
  for (const TensorUse& use : opened.table) {
    if (use.layer != 0 || use.name != "model.layers.0.self_attn.qkv_proj.weight") continue;
    for (const RankShard& shard : plan) rows += tensor_part(use, opened.config, shard, DType::kBF16).rows.size();
  }
  EXPECT_EQ(rows, 3 * 3072);
}

TEST(TensorTable, ColumnsWidenToWholeBlocksWhereAHeadStraddlesOne) {
  const OpenedModel opened = open_model("dummy:smollm2-135m");  // heads of 64 channels, 576 in all
  const RankShard shard = opened.shard_plan(9)[1];
  for (const TensorUse& use : opened.table) {
    if (use.slot != Slot::kWo || use.layer != 0) continue;
    const TensorPart part = tensor_part(use, opened.config, shard, DType::kQ8_0);
    EXPECT_EQ(part.cols.size(), 64);
    EXPECT_EQ(part.col_pad, 0);
    const TensorPart wide = tensor_part(use, opened.config, shard, DType::kQ4_K);
    EXPECT_EQ(wide.cols.begin, 0);
    EXPECT_EQ(wide.cols.end, 256);
    EXPECT_EQ(wide.col_pad, 64);
  }
}

TEST(TensorTable, RefusesTensorsItDoesNotKnowAndShapesThatDiffer) {
  const OpenedModel opened = open_model("dummy:smollm2-135m");
  auto tensors = dummy_tensors(opened.table, opened.config);
  tensors.push_back({"model.layers.0.self_attn.q_proj.bias", DType::kBF16, {576}, DummyKind::kSmall});
  try {
    check_tensors(opened.table, open_dummy("extra", tensors, 1)->catalogue());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("q_proj.bias"), std::string::npos);
  }
  tensors.pop_back();
  tensors[0].shape = {10, 576};
  EXPECT_THROW(check_tensors(opened.table, open_dummy("shape", tensors, 1)->catalogue()), Error);
}

TEST(TensorTable, RefusesExpertsOfDifferentElementTypes) {
  const OpenedModel opened = open_model("dummy:mixtral-8x7b");
  auto tensors = dummy_tensors(opened.table, opened.config);
  for (DummyTensor& tensor : tensors) {
    if (tensor.name == "model.layers.1.block_sparse_moe.experts.5.w2.weight") tensor.dtype = DType::kF32;
  }
  try {
    check_tensors(opened.table, open_dummy("mixed", tensors, 1)->catalogue());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("experts.5.w2.weight"), std::string::npos) << error.what();
  }
}

TEST(OpenModel, SaysWhatIsWrongWithAName) {
  const std::pair<const char*, ErrorKind> cases[] = {
      {"/no/such/model", ErrorKind::kNotFound},
      {"meta-llama/Llama-3.1-8B", ErrorKind::kNotFound},
      {"dummy:nothing", ErrorKind::kNotFound},
      {"/tmp", ErrorKind::kNotFound},
  };
  for (const auto& [name, kind] : cases) {
    try {
      open_model(name);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      EXPECT_FALSE(error.hint().empty()) << error.what();
    }
  }
}

}  // namespace
}  // namespace tandem
