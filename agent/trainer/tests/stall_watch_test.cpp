#include "stall_watch.h"

#include <gtest/gtest.h>

#include <future>
#include <stdexcept>

#include "data_fixtures.h"
#include "free_port.h"
#include "rendezvous_store.h"

namespace tenfold {
namespace {

/// A collective that failed, as one between GPUs does whose peer died: its waiting thread does not hear of it.
class FailedWork : public c10d::Work {
 public:
  FailedWork() { finish(std::make_exception_ptr(std::runtime_error("remote process exited"))); }
};

TEST(StallWatch, CallsTheRanksForAFailureThatNobodyHearsOf) {
  const Rendezvous rendezvous{.port = testing::free_port(), .rank = 0, .world_size = 2, .timeout = std::chrono::hours(1)};
  const MeetingPoint meeting = open_meeting_point(rendezvous);
  std::promise<std::string> told;
  StallWatch watch(rendezvous, [&](const std::string& verdict) { told.set_value(verdict); }, std::chrono::milliseconds(1));
  watch.follow("gradients", [] { return c10::make_intrusive<FailedWork>(); });
  const std::string verdict = told.get_future().get();
  EXPECT_TRUE(testing::mentions(verdict, "collective 1 (gradients)")) << verdict;
  EXPECT_TRUE(testing::mentions(verdict, "rank 1 is missing")) << verdict;
}

}  // namespace
}  // namespace tenfold
