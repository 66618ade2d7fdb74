#include "glob_files.h"

#include <algorithm>
#include <optional>
#include <set>

#include <glob.h>

namespace tenfold {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> shell_matches(const std::string& pattern) {
  struct Matches : glob_t {
    Matches() : glob_t{} {}
    ~Matches() { globfree(this); }
  } matches;
  if (glob(pattern.c_str(), 0, nullptr, &matches) != 0) return {};
  return {matches.gl_pathv, matches.gl_pathv + matches.gl_pathc};
}

/// What stands before and behind the first `**` of a pattern.
struct DeepPattern {
  std::string before, behind;
};

/// None where no component is `**`: within one, two stars are no more than one.
std::optional<DeepPattern> deep_pattern(const std::string& pattern) {
  for (size_t at = pattern.find("**"); at != std::string::npos; at = pattern.find("**", at + 1)) {
    const size_t end = at + 2;
    const bool begins = at == 0 || pattern[at - 1] == '/';
    const bool ends = end == pattern.size() || pattern[end] == '/';
    if (!begins || !ends) continue;
    return DeepPattern{pattern.substr(0, at),
                       pattern.substr(std::min(pattern.find_first_not_of('/', end), pattern.size()))};
  }
  return std::nullopt;
}

/// A path as a pattern that matches it alone.
std::string as_pattern(const fs::path& path) {
  std::string pattern;
  for (const char c : path.string()) {
    if (c == '\\' || c == '*' || c == '?' || c == '[') pattern += '\\';
    pattern += c;
  }
  return pattern;
}

/// Each folder is entered once, so that links may go in circles.
void add_folders(const fs::path& folder, std::set<fs::path>& entered, std::vector<fs::path>& folders) {
  if (!entered.insert(fs::canonical(folder)).second) return;
  folders.push_back(folder);
  std::set<fs::path> below;
  std::error_code broken_link;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const bool hidden = entry.path().filename().string().starts_with('.');
    if (!hidden && entry.is_directory(broken_link)) below.insert(entry.path());
  }
  for (const fs::path& path : below) add_folders(path, entered, folders);
}

/// A folder and all below it.
std::vector<fs::path> folders_from(const fs::path& folder) {
  std::set<fs::path> entered;
  std::vector<fs::path> folders;
  if (fs::is_directory(folder)) add_folders(folder, entered, folders);
  return folders;
}

}  // namespace

std::vector<fs::path> glob_files(const std::string& pattern) {
  const std::optional<DeepPattern> deep = deep_pattern(pattern);
  if (!deep) return shell_matches(pattern);
  const bool here = deep->before.empty();
  // Where everything matches, files alone do: a folder would bring its own a second time.
  const bool everything = deep->behind.empty() || deep->behind == "*";
  std::set<fs::path> found;
  for (const fs::path& top : here ? std::vector<fs::path>{"."} : shell_matches(deep->before))
    for (const fs::path& folder : folders_from(top))
      for (const fs::path& match : glob_files(as_pattern(folder / "") + (everything ? "*" : deep->behind)))
        if (!everything || !fs::is_directory(match)) found.insert(here ? match.lexically_normal() : match);
  return {found.begin(), found.end()};
}

}  // namespace tenfold
