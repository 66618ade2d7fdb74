#include "stall_verdict.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

namespace tenfold {
namespace {

std::string seconds_text(double seconds) { return std::to_string(std::llround(std::max(seconds, 0.0))) + " s"; }

/// "rank 1", "ranks 1, 2 and 5".
std::string ranks_text(const std::vector<size_t>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); ++i) {
    if (i > 0) text += i + 1 == ranks.size() ? " and " : ", ";
    text += std::to_string(ranks[i]);
  }
  return text;
}

/// The newest collective that some rank waits in: what the others must have come to for it to end.
const Standing* stalled_in(const std::vector<std::optional<Standing>>& standings) {
  const Standing* newest = nullptr;
  for (const auto& standing : standings) {
    if (standing && standing->waits && (newest == nullptr || standing->sequence > newest->sequence)) newest = &*standing;
  }
  return newest;
}

/// Why a rank is not in the collective.
std::string whereabouts(const std::optional<Standing>& standing) {
  if (!standing) return "does not answer";
  if (standing->sequence == 0) return "has come to none yet";
  return std::string(standing->waits ? "waits in " : "is past ") + "collective " + std::to_string(standing->sequence) +
         " (" + standing->collective + ") since " + seconds_text(standing->seconds);
}

std::string missing_text(const std::vector<std::optional<Standing>>& standings, std::vector<size_t> missing) {
  if (!standings[0]) {
    // The ranks hear each other through rank 0's store. Without it, that others do not answer says nothing of them.
    missing.erase(missing.begin());
    return "rank 0 is missing (does not answer; the ranks hear each other through it" +
           (missing.empty() ? std::string() : ", so nothing is known of " + ranks_text(missing)) + ")";
  }
  std::string text = ranks_text(missing) + (missing.size() == 1 ? " is missing" : " are missing");
  for (size_t i = 0; i < missing.size(); ++i) {
    text += (i == 0 ? " (" : "; ") + (missing.size() > 1 ? "rank " + std::to_string(missing[i]) + " " : std::string()) +
            whereabouts(standings[missing[i]]);
  }
  return text + ")";
}

}  // namespace

std::string to_text(const Standing& standing) {
  std::ostringstream text;
  text << standing.sequence << ' ' << standing.waits << ' ' << standing.seconds << ' ' << standing.collective;
  return text.str();
}

Standing standing_of(const std::string& text) {
  std::istringstream in(text);
  Standing standing;
  if (!(in >> standing.sequence >> standing.waits >> standing.seconds)) {
    throw std::invalid_argument("not where a rank stands: " + text);
  }
  std::getline(in >> std::ws, standing.collective);
  return standing;
}

std::string stall_verdict(const std::vector<std::optional<Standing>>& standings) {
  const Standing* stalled = stalled_in(standings);
  if (stalled == nullptr) return "a rank called for the others, but none waits in a collective any more";
  std::vector<size_t> waiting;
  std::vector<size_t> missing;
  double longest = 0;
  for (size_t rank = 0; rank < standings.size(); ++rank) {
    const auto& standing = standings[rank];
    const bool there = standing && standing->waits && standing->sequence == stalled->sequence;
    (there ? waiting : missing).push_back(rank);
    if (there) longest = std::max(longest, standing->seconds);
  }
  std::string text = "collective " + std::to_string(stalled->sequence) + " (" + stalled->collective + ") did not finish: ";
  if (missing.empty()) {
    return text + "all ranks wait in it, for up to " + seconds_text(longest) + "; look at the network between their hosts";
  }
  return text + missing_text(standings, missing) + "; " + ranks_text(waiting) +
         (waiting.size() == 1 ? " has" : " have") + " waited in it for up to " + seconds_text(longest);
}

}  // namespace tenfold
