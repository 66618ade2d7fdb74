#include "shown_name.h"

#include "text_raster.h"

namespace tenfold {

std::string in_one_line(const std::string& name) {
  std::string line;
  bool in_controls = false;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    const bool control = byte < 0x20 || byte == 0x7F;
    if (!control) line += c;
    if (control && !in_controls) line += ' ';
    in_controls = control;
  }
  return line;
}

std::string name_in_line(const std::vector<std::string>& names, int cls) {
  const auto index = static_cast<size_t>(cls);
  return index < names.size() ? in_one_line(names[index]) : std::to_string(cls);
}

std::string name_on_picture(const std::vector<std::string>& names, int cls) {
  const std::string name = name_in_line(names, cls);
  return is_legible(name) ? name : "class " + std::to_string(cls);
}

}  // namespace tenfold
