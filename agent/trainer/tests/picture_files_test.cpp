#include "picture_files.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "data_fixtures.h"
#include "exit_code.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;
using testing::mentions;
using testing::TemporaryFolder;

std::vector<std::string> names_in(const fs::path& source) {
  std::vector<std::string> names;
  for (const PictureFile& file : find_pictures(source.string()).files) names.push_back(file.name.string());
  return names;
}

TEST(PictureFiles, AreFoundByFolderFileAndPattern) {
  const TemporaryFolder folder;
  for (const char* name : {"b.jpg", "a.PNG", "sub/a.png", "sub/a.jpg", "notes.txt", "._b.jpg", ".thumbnails/b.jpg"})
    testing::write_file(folder / name, std::string("x"));
  EXPECT_EQ(names_in(folder.path()), (std::vector<std::string>{"a", "b", "sub/a", "sub/a.png"}));
  EXPECT_EQ(names_in(folder / "b.jpg"), (std::vector<std::string>{"b"}));
  EXPECT_EQ(names_in(folder / "sub/*.jpg"), (std::vector<std::string>{"a"}));
  EXPECT_EQ(find_pictures(folder.path().string()).left_out, "");
  EXPECT_THROW(find_pictures((folder / "*.webp").string()), TrainerError);
  fs::create_directories(folder / "empty");
  EXPECT_THROW(find_pictures((folder / "empty").string()), TrainerError);
}

TEST(PictureFiles, OfAPatternAreFoundAtAnyDepthAndKeepTheFoldersBelowIt) {
  const TemporaryFolder folder;
  for (const char* name : {"a.jpg", "one/a.jpg", "one/two/a.jpg", "one/two/b.png"})
    testing::write_file(folder / name, std::string("x"));
  EXPECT_EQ(names_in(folder / "**/*.jpg"), (std::vector<std::string>{"a", "one/a", "one/two/a"}));
  EXPECT_EQ(names_in(folder / "one/**"), (std::vector<std::string>{"a", "two/a", "two/b"}));
  EXPECT_EQ(names_in(folder / "*/a.jpg"), (std::vector<std::string>{"one/a"}));
  EXPECT_EQ(names_in(folder / "one/*/../../a.jpg"), (std::vector<std::string>{"a"}))
      << "no name leads out of the results";
}

TEST(PictureFiles, OfFormatsThatAreNotReadAreCounted) {
  const TemporaryFolder folder;
  for (const char* name : {"a.jpg", "b.BMP", "sub/c.tif", "sub/d.bmp", "notes.txt"})
    testing::write_file(folder / name, std::string("x"));
  EXPECT_EQ(names_in(folder.path()), (std::vector<std::string>{"a"}));
  EXPECT_EQ(find_pictures(folder.path().string()).left_out,
            "3 files are of formats that are not read (bmp, tif): convert them to JPEG, PNG or WebP");
  EXPECT_EQ(find_pictures((folder / "*").string()).left_out,
            "1 file is of a format that is not read (bmp): convert it to JPEG, PNG or WebP");
  try {
    find_pictures((folder / "sub").string());
    FAIL() << "no error";
  } catch (const TrainerError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_data);
    EXPECT_TRUE(mentions(error.what(), "has no JPEG, PNG or WebP file; 2 files are of formats")) << error.what();
  }
}

}  // namespace
}  // namespace tenfold
