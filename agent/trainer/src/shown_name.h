// The name of a class where people read it: in a table, in a line, on a picture.
#pragma once

#include <string>
#include <vector>

namespace tenfold {

/// A name in one line whatever it holds: a line break or another control character is a space.
std::string in_one_line(const std::string& name);

/// The same for a class; the number of one without a name.
std::string name_in_line(const std::vector<std::string>& names, int cls);

/// The same for a picture: "class N" where the font has none of the name's letters, as question marks would not tell
/// one class from another.
std::string name_on_picture(const std::vector<std::string>& names, int cls);

}  // namespace tenfold
