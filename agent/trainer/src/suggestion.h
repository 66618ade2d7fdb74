#pragma once

#include <string>
#include <vector>

namespace tenfold {

/// "; did you mean `epochs`?" for a `name` that is close to one of `known`, else nothing.
std::string suggestion(const std::string& name, const std::vector<std::string>& known);

}  // namespace tenfold
