#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

namespace tenfold {

/// Switches autocast off for as long as it lives, where eight bits are too few: what is computed there is cheap.
class FullPrecisionScope {
 private:
  c10::impl::ExcludeDispatchKeyGuard no_autocast_{c10::autocast_dispatch_keyset};
};

/// Half precision in float; float and double as they are.
inline at::Tensor full_precision(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
}

}  // namespace tenfold
