#include "comm/device_list.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace tandem {
namespace {

std::vector<Device> parse(std::vector<std::string> names, int tp_size) {
  return parse_devices(names, tp_size);
}

ErrorKind refusal(std::vector<std::string> names, int tp_size) {
  try {
    parse_devices(names, tp_size);
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::kInternal;
}

TEST(DeviceList, CountsRanksByNamesOrByTp) {
  EXPECT_EQ(parse({}, 0).size(), 1u);
  EXPECT_EQ(parse({}, 3).size(), 3u);
  EXPECT_EQ(parse({"cpu"}, 5).size(), 5u);
  EXPECT_EQ(parse({"cpu:1", "cpu:0"}, 0)[0].index, 1);
}

TEST(DeviceList, RefusesWhatIsNoDeviceAndWhatIsThereTwice) {
  EXPECT_EQ(refusal({"cpu:0", "cpu:0"}, 0), ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal({"0", "0"}, 0), ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal({"gpu"}, 0), ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal({"cpu:x"}, 0), ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal({"cpu:-1"}, 0), ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal({"cpu:0", "cpu:1"}, 3), ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal({}, 17), ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal({}, -1), ErrorKind::kInvalidArgument);
}

TEST(DeviceList, TakesGpusForSuchWhetherThereOrNot) {
  for (const char* name : {"99", "cuda:99", "GPU-8c1d", "ffff:3b:00.0"}) {
    const ErrorKind kind = refusal({name}, 0);
    EXPECT_TRUE(kind == ErrorKind::kUnsupported || kind == ErrorKind::kNotFound) << name;
  }
}

}  // namespace
}  // namespace tandem
