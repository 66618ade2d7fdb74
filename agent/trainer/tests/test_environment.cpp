// What holds for every test of the binary.
#include <gtest/gtest.h>

#include <ATen/Context.h>

namespace tenfold {
namespace {

/// NNPACK does not know every CPU and says so on stderr at each convolution.
class WithoutNnpack : public ::testing::Environment {
  void SetUp() override { at::globalContext().setUserEnabledNNPACK(false); }
};

const auto* const kWithoutNnpack = ::testing::AddGlobalTestEnvironment(new WithoutNnpack);

}  // namespace
}  // namespace tenfold
