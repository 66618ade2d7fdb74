#include "shared_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <span>

#include "collective_backend.h"
#include "on_ranks.h"

namespace tenfold {
namespace {

constexpr size_t kBytes = 10'000;

/// Runs `work` on two ranks that have met, each a thread of its own.
void on_both_ranks(const std::function<void(c10d::ProcessGroup&)>& work) {
  testing::on_threads(2, [&](const Rendezvous& rendezvous) {
    const MeetingPoint meeting = open_meeting_point(rendezvous);
    const auto group = c10::make_intrusive<c10d::ProcessGroup>(meeting.store, rendezvous.rank, rendezvous.world_size);
    add_gloo(*group, meeting, rendezvous, {c10::DeviceType::CPU});
    work(*group);
  });
}

bool holds(std::span<const std::byte> part, int value) {
  return part.size() == kBytes && std::ranges::all_of(part, [&](std::byte each) { return each == std::byte(value); });
}

TEST(SharedMemory, EachRankReadsWhatTheOtherWrote) {
  on_both_ranks([](c10d::ProcessGroup& group) {
    const auto memory = SharedMemory::open(group, kBytes);
    ASSERT_NE(memory, nullptr);
    std::ranges::fill(memory->own_part(), std::byte(10 + group.getRank()));
    group.barrier()->wait();
    EXPECT_TRUE(holds(memory->own_part(), 10 + group.getRank()));
    EXPECT_TRUE(holds(memory->others_part(), 11 - group.getRank()));
    group.barrier()->wait();  // nobody may go while the other reads
  });
}

TEST(SharedMemory, NeitherHasItWhereOneDoesNotWantItOrFindsOtherPagesOrHasTooLittleMemory) {
  on_both_ranks([](c10d::ProcessGroup& group) {
    const bool first = group.getRank() == 0;
    EXPECT_EQ(SharedMemory::open(group, kBytes, first), nullptr);
    EXPECT_EQ(SharedMemory::open(group, first ? kBytes : 2 * kBytes), nullptr);
    EXPECT_EQ(SharedMemory::open(group, size_t{1} << 50), nullptr);
    EXPECT_NE(SharedMemory::open(group, kBytes), nullptr) << "the ranks are out of step";
  });
}

}  // namespace
}  // namespace tenfold
