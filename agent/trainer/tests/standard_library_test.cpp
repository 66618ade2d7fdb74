#include <gtest/gtest.h>

#include <dlfcn.h>

#include <filesystem>
#include <string>

namespace tenfold {
namespace {

/// LibTorch exports a std::filesystem of its own (see cmake/LibTorch.cmake).
TEST(StandardLibrary, IsTheSystemsAndNotWhatLibTorchBringsAlong) {
  std::uintmax_t (*const remove_all)(const std::filesystem::path&) = &std::filesystem::remove_all;
  Dl_info found{};
  ASSERT_NE(::dladdr(reinterpret_cast<void*>(remove_all), &found), 0);
  EXPECT_NE(std::string(found.dli_fname).find("libstdc++"), std::string::npos) << found.dli_fname;
}

}  // namespace
}  // namespace tenfold
