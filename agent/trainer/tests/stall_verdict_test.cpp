#include "stall_verdict.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace tenfold {
namespace {

using Standings = std::vector<std::optional<Standing>>;

Standing waits(uint64_t sequence, double seconds = 120.2) { return {sequence, "gradients, bucket 2", seconds, true}; }

TEST(StallVerdict, NamesTheCollectiveItsNumberAndTheRankThatDoesNotAnswer) {
  EXPECT_EQ(stall_verdict(Standings{waits(17), std::nullopt, waits(17, 121)}),
            "collective 17 (gradients, bucket 2) did not finish: rank 1 is missing (does not answer); ranks 0 and 2 have "
            "waited in it for up to 121 s");
}

TEST(StallVerdict, TellsWhereRanksAreThatLiveButAreElsewhere) {
  const Standing busy{16, "requests", 125, false};
  EXPECT_EQ(stall_verdict(Standings{waits(17), busy, std::nullopt, waits(12)}),
            "collective 17 (gradients, bucket 2) did not finish: ranks 1, 2 and 3 are missing (rank 1 is past collective 16 "
            "(requests) since 125 s; rank 2 does not answer; rank 3 waits in collective 12 (gradients, bucket 2) since "
            "120 s); rank 0 has waited in it for up to 120 s");
  EXPECT_NE(stall_verdict(Standings{waits(1), Standing{}}).find("rank 1 is missing (has come to none yet)"),
            std::string::npos);
}

TEST(StallVerdict, BlamesNoOtherWhereRank0KeepsThemFromBeingHeard) {
  EXPECT_EQ(stall_verdict(Standings{std::nullopt, waits(17), std::nullopt}),
            "collective 17 (gradients, bucket 2) did not finish: rank 0 is missing (does not answer; the ranks hear each other "
            "through it, so nothing is known of rank 2); rank 1 has waited in it for up to 120 s");
}

TEST(StallVerdict, SuspectsTheNetworkWhereAllRanksWait) {
  EXPECT_EQ(stall_verdict(Standings{waits(3), waits(3)}),
            "collective 3 (gradients, bucket 2) did not finish: all ranks wait in it, for up to 120 s; look at the network "
            "between their hosts");
  EXPECT_EQ(stall_verdict(Standings{Standing{}, Standing{}}),
            "a rank called for the others, but none waits in a collective any more");
}

TEST(StallVerdict, AStandingIsALineOfText) {
  const Standing standing{17, "gradients, bucket 2", 120.5, true};
  EXPECT_EQ(standing_of(to_text(standing)), standing);
  EXPECT_THROW(standing_of("somewhere"), std::invalid_argument);
}

}  // namespace
}  // namespace tenfold
