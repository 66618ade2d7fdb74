#pragma once

#include <cstdint>
#include <string>

namespace tenfold {

/// "1 image", "2 images"; `many` where that is not `one` with an s: "2 classes".
inline std::string counted(int64_t number, const std::string& one, const std::string& many = "") {
  const std::string several = many.empty() ? one + "s" : many;
  return std::to_string(number) + " " + (number == 1 ? one : several);
}

}  // namespace tenfold
