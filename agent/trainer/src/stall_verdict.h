#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tenfold {

/// Where a rank stands among the collectives of its generation, which are numbered from 1 on every rank alike.
struct Standing {
  uint64_t sequence = 0;   // of the oldest collective that it waits in; where it waits in none, of its newest
  std::string collective;  // its name
  double seconds = 0;      // since it came to it
  bool waits = false;

  bool operator==(const Standing&) const = default;
};

/// One line, and back. Throws std::invalid_argument.
std::string to_text(const Standing& standing);
Standing standing_of(const std::string& text);

/// What a stall is, for people: the collective's name and number, the ranks that are missing from it, and how long the
/// others have waited. `standings` by rank; nullopt: the rank gave no answer.
std::string stall_verdict(const std::vector<std::optional<Standing>>& standings);

}  // namespace tenfold
