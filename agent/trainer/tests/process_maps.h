#pragma once

#include <cstdint>
#include <fstream>
#include <string>

namespace tenfold::testing {

/// How many memory mappings of a process, "self" or a pid, have `part` in their name.
inline int64_t mappings(const std::string& process, const std::string& part) {
  std::ifstream maps("/proc/" + process + "/maps");
  int64_t count = 0;
  for (std::string line; std::getline(maps, line);) count += line.find(part) != std::string::npos ? 1 : 0;
  return count;
}

}  // namespace tenfold::testing
