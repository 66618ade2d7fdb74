#include "rank_environment.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "data_fixtures.h"
#include "exit_code.h"

namespace tenfold {
namespace {

using Variables = std::map<std::string, std::string>;

RankEnvironment read(const Variables& variables) {
  return read_rank_environment([&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  });
}

std::string refused_with(const Variables& variables) {
  try {
    read(variables);
    return "accepted";
  } catch (const TrainerError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_config);
    return error.what();
  }
}

TEST(RankEnvironment, AProcessThatIsToldNothingIsAlone) {
  EXPECT_EQ(read({}).world_size, 1);
  EXPECT_EQ(read({{"WORLD_SIZE", "1"}}).world_size, 1);
}

TEST(RankEnvironment, ARankKnowsItsPlace) {
  const RankEnvironment env = read({{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "2"}});
  EXPECT_EQ(env.rank, 3);
  EXPECT_EQ(env.world_size, 4);
  EXPECT_EQ(env.local_rank, 1);
  EXPECT_EQ(env.local_world_size, 2);
}

TEST(RankEnvironment, OneOfManyThatIsNotToldWhichIsRefused) {
  EXPECT_TRUE(testing::mentions(refused_with({{"WORLD_SIZE", "4"}}), "WORLD_SIZE=4 without RANK"));
  EXPECT_TRUE(testing::mentions(refused_with({{"RANK", "4"}, {"WORLD_SIZE", "4"}}), "RANK=4 is not below WORLD_SIZE=4"));
  EXPECT_TRUE(testing::mentions(refused_with({{"RANK", "one"}, {"MASTER_PORT", "0"}}), "RANK=one"));
}

}  // namespace
}  // namespace tenfold
