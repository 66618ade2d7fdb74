#include "file_io.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <system_error>

#include "data_fixtures.h"

namespace tenfold {
namespace {

using testing::TemporaryFolder;

/// While it lives, no file of this process grows beyond `bytes`: writing fails, as on a disk that is full.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : on_signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, on_signal_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*on_signal_)(int);
  rlimit before_{};
};

TEST(ReplaceFile, LeavesTheOldFileAndNoPieceOfTheNewWhereTheDiskIsFull) {
  const TemporaryFolder folder;
  const auto file = folder / "a.jpg";
  replace_file(file, "old");
  {
    const FileSizeLimit full(10);
    EXPECT_THROW(replace_file(file, std::string(100, 'x')), std::system_error);
  }
  EXPECT_EQ(std::filesystem::file_size(file), 3U);
  EXPECT_FALSE(std::filesystem::exists(folder / "a.jpg.tmp"));
}

TEST(SameFile, IsKnownByWhateverPathLeadsToIt) {
  const TemporaryFolder folder;
  replace_file(folder / "a", "x");
  replace_file(folder / "b", "x");
  EXPECT_TRUE(is_same_file(folder / "a", folder.path() / "." / "a"));
  EXPECT_FALSE(is_same_file(folder / "a", folder / "b"));
  EXPECT_FALSE(is_same_file(folder / "a", folder / "absent"));
}

}  // namespace
}  // namespace tenfold
