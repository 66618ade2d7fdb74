#pragma once

#include <string>

namespace tenfold {

/// A word `key=value` of a command line.
struct Setting {
  std::string key;
  std::string value;
};

}  // namespace tenfold
