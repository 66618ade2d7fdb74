#include "suggestion.h"

#include <gtest/gtest.h>

namespace tenfold {
namespace {

TEST(Suggestion, IsTheKnownWordThatIsNearest) {
  const std::vector<std::string> known = {"box", "data", "epochs", "export", "lr0", "mosaic", "train", "val"};
  for (const auto& [typed, meant] : std::vector<std::pair<std::string, std::string>>{
           {"epoch", "epochs"}, {"dat", "data"}, {"mosiac", "mosaic"}, {"exprot", "export"}, {"tarin", "train"}, {"lr", "lr0"}})
    EXPECT_EQ(suggestion(typed, known), "; did you mean `" + meant + "`?");
}

TEST(Suggestion, IsNoneWhereAShortWordIsCloseToAnything) {
  for (const std::string typed : {"iou", "half", "v", ""}) EXPECT_EQ(suggestion(typed, {"box", "val", "x"}), "") << typed;
}

}  // namespace
}  // namespace tenfold
