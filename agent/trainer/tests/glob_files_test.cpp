#include "glob_files.h"

#include <gtest/gtest.h>

#include "data_fixtures.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;
using testing::write_file;

class Globbing : public ::testing::Test {
 protected:
  Globbing() {
    for (const char* name : {"a.jpg", "b.png", "one/a.jpg", "one/two/a.jpg", "one/two/c.txt", ".hidden/a.jpg"})
      write_file(folder_ / name, std::string("x"));
  }

  /// What a pattern below the folder names, relative to it.
  std::vector<std::string> matches(const std::string& pattern) const {
    std::vector<std::string> names;
    for (const fs::path& path : glob_files((folder_ / pattern).string()))
      names.push_back(path.lexically_relative(folder_.path()).string());
    return names;
  }

  using Names = std::vector<std::string>;
  TemporaryFolder folder_;
};

TEST_F(Globbing, OneStarIsOneLevel) {
  EXPECT_EQ(matches("*.jpg"), (Names{"a.jpg"}));
  EXPECT_EQ(matches("*/*.jpg"), (Names{"one/a.jpg"}));
  EXPECT_EQ(matches("**.jpg"), (Names{"a.jpg"})) << "two stars within a name are as one";
  EXPECT_EQ(matches("*.webp"), (Names{}));
}

TEST_F(Globbing, TwoStarsAreAnyDepthNoneIncluded) {
  EXPECT_EQ(matches("**/*.jpg"), (Names{"a.jpg", "one/a.jpg", "one/two/a.jpg"}));
  EXPECT_EQ(matches("one/**/*.jpg"), (Names{"one/a.jpg", "one/two/a.jpg"}));
  EXPECT_EQ(matches("**/two/*.jpg"), (Names{"one/two/a.jpg"}));
  EXPECT_EQ(matches("**/two"), (Names{"one/two"})) << "a folder";
  EXPECT_EQ(matches("**/one/**/a.jpg"), (Names{"one/a.jpg", "one/two/a.jpg"}));
  EXPECT_EQ(matches("*/**/a.jpg"), (Names{"one/a.jpg", "one/two/a.jpg"}));
  EXPECT_EQ(matches("none/**/*.jpg"), (Names{}));
}

TEST_F(Globbing, TwoStarsAtTheEndAreEveryFileOnce) {
  const Names all{"a.jpg", "b.png", "one/a.jpg", "one/two/a.jpg", "one/two/c.txt"};
  EXPECT_EQ(matches("**"), all);
  EXPECT_EQ(matches("**/*"), all);
}

TEST_F(Globbing, FoldersBehindLinksAreSearchedAndCirclesEnd) {
  const TemporaryFolder elsewhere;
  write_file(elsewhere / "deep/d.jpg", std::string("x"));
  fs::create_directory_symlink(elsewhere.path(), folder_ / "link");
  fs::create_directory_symlink(folder_.path(), folder_ / "one/circle");
  fs::create_symlink("nowhere", folder_ / "broken");
  EXPECT_EQ(matches("**/*.jpg"), (Names{"a.jpg", "link/deep/d.jpg", "one/a.jpg", "one/two/a.jpg"}));
}

TEST_F(Globbing, NamesOfFoldersAreNoPatterns) {
  write_file(folder_ / "odd/[ab]*/a.jpg", std::string("x"));
  write_file(folder_ / "odd/b\\x/a.jpg", std::string("x"));
  EXPECT_EQ(matches("odd/**/*.jpg"), (Names{"odd/[ab]*/a.jpg", "odd/b\\x/a.jpg"}));
}

TEST_F(Globbing, StartsWhereTheProcessRunsWithoutAFolder) {
  const testing::WorkingFolder here(folder_.path());
  EXPECT_EQ(glob_files("**/*.jpg"), (std::vector<fs::path>{"a.jpg", "one/a.jpg", "one/two/a.jpg"}));
}

TEST(DataYaml, TakesImagesAtAnyDepthByTwoStars) {
  const TemporaryFolder folder;
  for (const std::string name : {"images/train/a.jpg", "images/train/deeper/b.jpg", "images/train/deeper/still/c.jpg"})
    write_file(folder / name, testing::scene_sample(name, 40, 30, {}).file);
  write_file(folder / "list.txt", std::string("images/**/still/*.jpg\n"));
  const auto count = [&](const std::string& entry) {
    write_file(folder / "data.yaml", "train: " + entry + "\nnames: [cat]\n");
    return Dataset::open_yaml(folder / "data.yaml", "train").size();
  };
  EXPECT_EQ(count("images/train/**/*.jpg"), 3);
  EXPECT_EQ(count("'**/deeper'"), 2);
  EXPECT_EQ(count("list.txt"), 1);
}

}  // namespace
}  // namespace tenfold
