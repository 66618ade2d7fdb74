#include "exit_code.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace tenfold {
namespace {

TEST(ExitCode, TableIsTheOneThatTheAgentReads) {
  std::ifstream file(std::string(TENFOLD_FIXTURES) + "/trainer-contract/exit-codes.json");
  const nlohmann::json expected = nlohmann::json::parse(file);
  nlohmann::json own = nlohmann::json::array();
  for (const ExitCodeEntry& entry : exit_code_table()) {
    own.push_back({{"code", static_cast<int>(entry.code)},
                   {"name", entry.name},
                   {"fault", entry.fault},
                   {"retry", entry.retry},
                   {"text", entry.text}});
  }
  EXPECT_EQ(own, expected);
}

}  // namespace
}  // namespace tenfold
