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

/// Runs `work` on ranks that have met, each a thread of its own.
void on_groups(int world_size, const std::function<void(c10d::ProcessGroup&)>& work) {
  testing::on_threads(world_size, [&](const Rendezvous& rendezvous) {
    const MeetingPoint meeting = open_meeting_point(rendezvous);
    const auto group = c10::make_intrusive<c10d::ProcessGroup>(meeting.store, rendezvous.rank, rendezvous.world_size);
    add_gloo(*group, meeting, rendezvous, {c10::DeviceType::CPU});
    work(*group);
  });
}

void barrier(c10d::ProcessGroup& group) { group.barrier()->wait(); }

bool holds(std::span<const std::byte> part, int value) {
  return part.size() == kBytes && std::ranges::all_of(part, [&](std::byte each) { return each == std::byte(value); });
}

TEST(SharedMemory, EveryRankReadsWhatTheOthersWrote) {
  on_groups(3, [](c10d::ProcessGroup& group) {
    const auto memory = SharedMemory::open(group, kBytes);
    ASSERT_NE(memory, nullptr);
    std::ranges::fill(memory->own_part(), std::byte(10 + group.getRank()));
    barrier(group);
    for (int rank = 0; rank < group.getSize(); ++rank) EXPECT_TRUE(holds(memory->part(rank), 10 + rank)) << rank;
    barrier(group);  // nobody may go while another reads
  });
}

TEST(SharedMemory, NobodyHasItWhereOneFindsOtherPagesThanItsOwn) {
  on_groups(3, [](c10d::ProcessGroup& group) {
    EXPECT_EQ(SharedMemory::open(group, group.getRank() == 1 ? 2 * kBytes : kBytes), nullptr);
    EXPECT_NE(SharedMemory::open(group, kBytes), nullptr) << "the ranks are out of step";
  });
}

}  // namespace
}  // namespace tenfold
