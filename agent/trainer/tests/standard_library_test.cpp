#include <gtest/gtest.h>

#include <dlfcn.h>

#include <string>

namespace tenfold {
namespace {

/// LibTorch exports a std::filesystem of its own (see cmake/LibTorch.cmake).
TEST(StandardLibrary, IsTheSystemsAndNotWhatLibTorchBringsAlong) {
  // Asked of the loader, as calls are: the address of a function may be one of this program's own, by which it is called.
  void* const remove_all = ::dlsym(RTLD_DEFAULT, "_ZNSt10filesystem10remove_allERKNS_7__cxx114pathE");
  ASSERT_NE(remove_all, nullptr);
  Dl_info found{};
  ASSERT_NE(::dladdr(remove_all, &found), 0);
  EXPECT_NE(std::string(found.dli_fname).find("libstdc++"), std::string::npos) << found.dli_fname;
}

}  // namespace
}  // namespace tenfold
