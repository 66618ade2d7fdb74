#include <gtest/gtest.h>

#include <dlfcn.h>

#include <filesystem>
#include <string>

namespace tenfold {
namespace {

/// LibTorch exports a std::filesystem of its own (see cmake/LibTorch.cmake). The system's may be libstdc++'s or, where that is
/// linked statically, this program's.
TEST(StandardLibrary, IsTheSystemsAndNotWhatLibTorchBringsAlong) {
  // Asked of the loader, as calls are: the address of a function may be one of this program's own, by which it is called.
  void* const remove_all = ::dlsym(RTLD_DEFAULT, "_ZNSt10filesystem10remove_allERKNS_7__cxx114pathE");
  ASSERT_NE(remove_all, nullptr);
  Dl_info found{};
  ASSERT_NE(::dladdr(remove_all, &found), 0);
  const std::string library = std::filesystem::path(found.dli_fname).filename();
  EXPECT_FALSE(library.starts_with("libtorch") || library.starts_with("libc10")) << library;
}

}  // namespace
}  // namespace tenfold
