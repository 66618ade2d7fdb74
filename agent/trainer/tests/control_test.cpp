#include "control.h"

#include <gtest/gtest.h>

#include <fstream>

namespace tenfold {
namespace {

TEST(Control, UnderstandsTheContractsCommands) {
  std::ifstream file(std::string(TENFOLD_FIXTURES) + "/trainer-contract/commands.ndjson");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  ASSERT_EQ(lines.size(), 3U);

  Requests checkpoint;
  EXPECT_EQ(apply_command(lines[0], checkpoint), "");
  EXPECT_TRUE(checkpoint.checkpoint);
  EXPECT_FALSE(checkpoint.stop);

  Requests stop_with_checkpoint;
  EXPECT_EQ(apply_command(lines[1], stop_with_checkpoint), "");
  EXPECT_TRUE(stop_with_checkpoint.stop);
  EXPECT_TRUE(stop_with_checkpoint.stop_checkpoint);

  Requests stop;
  EXPECT_EQ(apply_command(lines[2], stop), "");
  EXPECT_TRUE(stop.stop);
  EXPECT_FALSE(stop.stop_checkpoint);
}

TEST(Control, LeavesAloneWhatItDoesNotUnderstand) {
  for (const char* line : {"dance", "{}", R"({"cmd":"dance"})", R"({"cmd":"stop","checkpoint":"yes"})", "[1]"}) {
    Requests requests;
    EXPECT_NE(apply_command(line, requests), "") << line;
    EXPECT_FALSE(requests.stop || requests.checkpoint || requests.orphaned) << line;
  }
  Requests requests;
  EXPECT_EQ(apply_command("  ", requests), "");
}

}  // namespace
}  // namespace tenfold
