#include "host_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace tenfold {
namespace {

namespace fs = std::filesystem;

/// The number that is a file's whole text; "max" and files that are not there have none.
std::optional<int64_t> only_number(const fs::path& file) {
  std::ifstream in(file);
  int64_t value = 0;
  if (in >> value) return value;
  return std::nullopt;
}

struct ControlGroupFiles {
  const char* limit;
  const char* usage;
};
constexpr ControlGroupFiles kVersion1{"memory.limit_in_bytes", "memory.usage_in_bytes"};
constexpr ControlGroupFiles kVersion2{"memory.max", "memory.current"};

/// What one control group leaves; nothing where it sets no limit.
std::optional<int64_t> left_in(const fs::path& folder, const ControlGroupFiles& files) {
  const auto limit = only_number(folder / files.limit);
  const auto usage = only_number(folder / files.usage);
  if (!limit || !usage) return std::nullopt;
  return std::max<int64_t>(*limit - *usage + number_in_line(folder / "memory.stat", "inactive_file").value_or(0), 0);
}

/// The least that the groups from `group` up to the mount point leave: each limits all below it.
int64_t left_in_all(const fs::path& mount, fs::path group, const ControlGroupFiles& files) {
  int64_t least = std::numeric_limits<int64_t>::max();
  group = group.relative_path();
  while (true) {
    if (const auto left = left_in(mount / group, files)) least = std::min(least, *left);
    if (group.empty()) return least;
    group = group.parent_path();
  }
}

/// Whether "memory" is one of the names in a list such as "cpu,memory".
bool has_memory(const std::string& controllers) {
  std::istringstream names(controllers);
  for (std::string name; std::getline(names, name, ',');) {
    if (name == "memory") return true;
  }
  return false;
}

/// A line of /proc/self/cgroup is "number:controllers:path"; version 2 has no controllers.
int64_t left_by_control_groups(const fs::path& root) {
  int64_t least = std::numeric_limits<int64_t>::max();
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const fs::path group = line.substr(second + 1);
    if (controllers.empty()) least = std::min(least, left_in_all(root / "sys/fs/cgroup", group, kVersion2));
    if (has_memory(controllers)) {
      least = std::min(least, left_in_all(root / "sys/fs/cgroup/memory", group, kVersion1));
    }
  }
  return least;
}

}  // namespace

/// The number of a line such as "MemAvailable:   123 kB" or "inactive_file 456", in its own unit.
std::optional<int64_t> number_in_line(const fs::path& file, const std::string& key) {
  std::ifstream in(file);
  std::string word;
  int64_t value = 0;
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    if (fields >> word && word == key && fields >> value) return value;
  }
  return std::nullopt;
}

int64_t available_host_bytes(const fs::path& root) {
  const auto kilobytes = number_in_line(root / "proc/meminfo", "MemAvailable:");
  const int64_t machine = kilobytes ? *kilobytes * 1024 : std::numeric_limits<int64_t>::max();
  return std::min(machine, left_by_control_groups(root));
}

}  // namespace tenfold
