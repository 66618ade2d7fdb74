#include "glob_files.h"

#include <glob.h>

namespace tenfold {

std::vector<std::filesystem::path> glob_files(const std::string& pattern) {
  struct Matches : glob_t {
    Matches() : glob_t{} {}
    ~Matches() { globfree(this); }
  } matches;
  if (glob(pattern.c_str(), 0, nullptr, &matches) != 0) return {};
  return {matches.gl_pathv, matches.gl_pathv + matches.gl_pathc};
}

}  // namespace tenfold
