// The calls in pickles that are known here. The functions of Python that they name are never run: what they would return
// is made by this code, or stands as a record of the call.
#pragma once

#include "pickle.h"

namespace tenfold {

/// What `callable(*arguments)` gives. Throws RefusedCall unless the callable is one of the few that weights are pickled
/// with, and PickleError where its arguments are not what it takes.
decltype(PickleValue::data) carry_out(const PickleValue& callable, const PickleItems& arguments);

/// The storage that a persistent id of torch.save stands for: ('storage', type, key, device, count). Throws PickleError.
PickleStorage storage_of(const PickleValue& id);

}  // namespace tenfold
