#pragma once

#include <istream>
#include <string>
#include <string_view>

namespace tenfold {

/// The lines of a text one after the other, without the byte order mark that editors on Windows put before the first.
class TextLines {
 public:
  /// `in` must outlive it.
  explicit TextLines(std::istream& in) : in_(in) {}

  bool next(std::string& line) {
    if (!std::getline(in_, line)) return false;
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (number_++ == 0 && line.starts_with(kByteOrderMark)) line.erase(0, kByteOrderMark.size());
    return true;
  }

  /// Of the line that came last, from 1.
  int number() const { return number_; }

 private:
  std::istream& in_;
  int number_ = 0;
};

}  // namespace tenfold
