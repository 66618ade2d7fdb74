#include "batch_size.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <new>
#include <vector>

#include "data_fixtures.h"
#include "device_memory.h"
#include "host_memory.h"

namespace tenfold {
namespace {

/// A device on which a pass takes `fixed` bytes and `per_image` more for each image, and breaks at `memory`.
struct Device {
  int64_t fixed = 0;
  int64_t per_image = 1;
  int64_t memory = 1'000'000;
  std::vector<int64_t> tried{};

  MemoryProbe probe() {
    return [this](int64_t images) -> std::optional<int64_t> {
      tried.push_back(images);
      const int64_t bytes = fixed + per_image * images;
      return bytes > memory ? std::nullopt : std::optional(bytes);
    };
  }
};

TEST(LargestBatch, FillsTheBudgetAndNeverExceedsIt) {
  for (const int64_t fixed : {0, 50, 500}) {
    for (const int64_t per_image : {1, 7, 100}) {
      Device device{fixed, per_image};
      const FittingBatch found = largest_batch(device.probe(), 1000, 10'000);
      const int64_t best = (1000 - fixed) / per_image;
      EXPECT_LE(found.images, best);
      EXPECT_GE(found.images, best - best / 16) << fixed << " " << per_image;
      EXPECT_EQ(found.peak_bytes, fixed + per_image * found.images) << "as measured";
      for (const int64_t images : device.tried) EXPECT_LE(images, best) << "would have been killed";
    }
  }
}

TEST(LargestBatch, StopsAtTheLimit) {
  Device device{0, 1};
  EXPECT_EQ(largest_batch(device.probe(), 1000, 24).images, 24);
  EXPECT_EQ(largest_batch(device.probe(), 1000, 1).images, 1);
}

TEST(LargestBatch, FindsTheEdgeWhereTheDeviceBreaksBeforeTheBudgetIsUsed) {
  Device device{0, 10, 700};
  const FittingBatch found = largest_batch(device.probe(), 1000, 10'000);
  EXPECT_LE(found.images, 70);
  EXPECT_GE(found.images, 66);
}

TEST(PeakBytes, AreNoneWhereMemoryRunsOutInWhateverWay) {
  EXPECT_FALSE(peak_bytes_of(at::kCPU, [] { throw std::bad_alloc(); }).has_value());
  for (const char* text : {"[enforce fail] DefaultCPUAllocator: can't allocate memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED",
                           "GET was unable to find an engine to execute this computation"})
    EXPECT_FALSE(peak_bytes_of(at::kCPU, [&] { TORCH_CHECK(false, text); }).has_value()) << text;
  EXPECT_THROW(peak_bytes_of(at::kCPU, [] { TORCH_CHECK(false, "shapes differ"); }), c10::Error);
}

TEST(LargestBatch, IsNoneWhereNotEvenOneImageFits) {
  Device device{2000, 1};
  EXPECT_EQ(largest_batch(device.probe(), 1000, 10'000).images, 0);
  EXPECT_EQ(device.tried.size(), 1U);
}

TEST(HostMemory, TheTightestControlGroupCounts) {
  const testing::TemporaryFolder root;
  testing::write_file(root / "proc/meminfo", std::string("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n"));
  EXPECT_EQ(available_host_bytes(root.path()), 8000 * 1024);

  testing::write_file(root / "proc/self/cgroup", std::string("4:memory,cpu:/jobs/a\n0::/pods/b\n"));
  EXPECT_EQ(available_host_bytes(root.path()), 8000 * 1024) << "groups without limits";
  const auto group = root / "sys/fs/cgroup/pods";
  testing::write_file(group / "b/memory.max", std::string("max\n"));
  testing::write_file(group / "b/memory.current", std::string("100\n"));
  testing::write_file(group / "memory.max", std::string("5000000\n"));
  testing::write_file(group / "memory.current", std::string("3000000\n"));
  testing::write_file(group / "memory.stat", std::string("anon 7\ninactive_file 500000\n"));
  EXPECT_EQ(available_host_bytes(root.path()), 2'500'000);
  const auto old_group = root / "sys/fs/cgroup/memory/jobs/a";
  testing::write_file(old_group / "memory.limit_in_bytes", std::string("1000000\n"));
  testing::write_file(old_group / "memory.usage_in_bytes", std::string("600000\n"));
  EXPECT_EQ(available_host_bytes(root.path()), 400'000);
}

TEST(DeviceMemory, SeesThePeakOfWorkAndForgetsItAfterwards) {
  constexpr int64_t kMebibyte = int64_t{1} << 20;
  const auto take = [](int64_t bytes) {
    return [bytes] { const std::vector<char> memory(static_cast<size_t>(bytes), 1); };
  };
  const auto large = peak_bytes_of(at::kCPU, take(200 * kMebibyte));
  const auto small = peak_bytes_of(at::kCPU, take(20 * kMebibyte));
  ASSERT_TRUE(large && small);
  EXPECT_GT(*large, 190 * kMebibyte);
  EXPECT_LT(*small, 100 * kMebibyte) << "the larger one is not remembered";
  EXPECT_GT(*small, 10 * kMebibyte);
}

}  // namespace
}  // namespace tenfold
