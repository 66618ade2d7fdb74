#include "config_reader.h"

#include <cmath>
#include <limits>
#include <sstream>

#include "suggestion.h"
#include "train_arguments.h"

namespace tenfold {
namespace {

std::string shown(const nlohmann::json& value) {
  // Words of a command line may be of any bytes.
  std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return text.size() > 40 ? text.substr(0, 37) + "..." : text;
}

std::string range_text(const std::string& low, const std::string& high, bool unbounded) {
  return unbounded ? low + " or more" : low + " to " + high;
}

std::string number_text(double value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

bool is_number(const std::string& text) {
  return !text.empty() && text.size() < 4 && text.find_first_not_of("0123456789") == std::string::npos;
}

bool is_layer_number(const nlohmann::json& value) {
  constexpr int64_t kMostLayers = 1000;
  return value.is_number_integer() && value >= 0 && value < kMostLayers;
}

}  // namespace

ObjectReader::ObjectReader(const nlohmann::json* value, std::string path, Problems& problems,
                           const std::string& example)
    : path_(std::move(path)), problems_(problems) {
  if (value == nullptr || value->is_null()) return;
  if (value->is_object()) {
    object_ = value;
  } else {
    problems_.push_back((path_.empty() ? "the config" : path_) + ": must be an object" +
                        (example.empty() ? "" : " such as " + example) + ", not " + shown(*value));
  }
}

std::string ObjectReader::path_of(std::string_view name) const {
  return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

const nlohmann::json* ObjectReader::take(const char* name) {
  known_.emplace_back(name);
  if (object_ == nullptr) return nullptr;
  const auto found = object_->find(name);
  return found == object_->end() ? nullptr : &*found;
}

void ObjectReader::problem(const char* name, const std::string& what) {
  problems_.push_back(path_of(name) + ": " + what);
}

bool ObjectReader::has(const char* name) const {
  return object_ != nullptr && object_->contains(name) && !object_->at(name).is_null();
}

void ObjectReader::refuse(std::string_view name, std::string_view advice) {
  const std::string key(name);
  if (object_ == nullptr || !object_->contains(key)) return;
  problems_.push_back(path_of(name) + ": not an argument here: " + std::string(advice));
  known_.push_back(key);
}

void ObjectReader::integer(const char* name, int64_t& value, int64_t low, int64_t high) {
  const nlohmann::json* field = take(name);
  if (field == nullptr) return;
  // 3.0 is a whole number too: JSON does not tell them apart.
  const bool whole = field->is_number() && std::trunc(field->get<double>()) == field->get<double>();
  const double given = whole ? field->get<double>() : 0;
  if (!whole || given < static_cast<double>(low) || given > static_cast<double>(high)) {
    const bool unbounded = high >= (int64_t{1} << 53);
    problem(name, "must be a whole number, " + range_text(std::to_string(low), std::to_string(high), unbounded) +
                      ", not " + shown(*field));
    return;
  }
  value = static_cast<int64_t>(given);
}

void ObjectReader::optional_integer(const char* name, std::optional<int64_t>& value, int64_t low, int64_t high) {
  if (!has(name)) {
    take(name);
    return;
  }
  int64_t given = low - 1;
  integer(name, given, low, high);
  if (given >= low) value = given;
}

void ObjectReader::integer_or_auto(const char* name, std::optional<int64_t>& value, int64_t low, int64_t high) {
  if (has(name) && object_->at(name) == "auto") {
    take(name);
    value.reset();
    return;
  }
  optional_integer(name, value, low, high);
}

void ObjectReader::number(const char* name, double& value, double low, double high) {
  const nlohmann::json* field = take(name);
  if (field == nullptr) return;
  const double given = field->is_number() ? field->get<double>() : std::numeric_limits<double>::quiet_NaN();
  if (!(given >= low && given <= high)) {
    problem(name, "must be a number, " + range_text(number_text(low), number_text(high), std::isinf(high)) +
                      ", not " + shown(*field));
    return;
  }
  value = given;
}

void ObjectReader::number_or_auto(const char* name, std::optional<double>& value, double low, double high) {
  if (!has(name) || object_->at(name) == "auto") {
    take(name);
    return;
  }
  double given = low - 1;
  number(name, given, low, high);
  if (given >= low) value = given;
}

void ObjectReader::flag(const char* name, bool& value) {
  const nlohmann::json* field = take(name);
  if (field == nullptr) return;
  if (!field->is_boolean()) return problem(name, "must be true or false, not " + shown(*field));
  value = field->get<bool>();
}

void ObjectReader::text(const char* name, std::string& value) {
  const nlohmann::json* field = take(name);
  if (field == nullptr) return;
  if (!field->is_string() || field->get_ref<const std::string&>().empty()) {
    return problem(name, "must be a text that is not empty, not " + shown(*field));
  }
  value = field->get<std::string>();
}

void ObjectReader::required_text(const char* name, std::string& value) {
  if (object_ != nullptr && !object_->contains(name)) problem(name, "is required");
  text(name, value);
}

void ObjectReader::optional_text(const char* name, std::optional<std::string>& value) {
  if (!has(name)) {
    take(name);
    return;
  }
  std::string given;
  text(name, given);
  if (!given.empty()) value = given;
}

void ObjectReader::choice(const char* name, std::string& value, std::initializer_list<const char*> words,
                          const char* word_for_true, const char* word_for_false) {
  const nlohmann::json* field = take(name);
  if (field == nullptr) return;
  if (field->is_boolean()) {
    if (const char* word = field->get<bool>() ? word_for_true : word_for_false; word != nullptr) {
      value = word;
      return;
    }
  }
  std::string offered;
  for (const char* word : words) {
    if (*field == word) {
      value = word;
      return;
    }
    offered += (offered.empty() ? "\"" : ", \"") + std::string(word) + "\"";
  }
  problem(name, "must be one of " + offered + ", not " + shown(*field));
}

void ObjectReader::batch(const char* name, int64_t& value, int64_t low, int64_t high) {
  if (has(name) && (object_->at(name) == "auto" || object_->at(name) == -1)) {
    take(name);
    value = kAutoBatch;
    return;
  }
  integer(name, value, low, high);
}

void ObjectReader::device(const char* name, std::string& value) {
  const nlohmann::json* field = take(name);
  if (field == nullptr) return;
  if (field->is_number_unsigned()) {
    value = "cuda:" + field->dump();
    return;
  }
  const std::string given = field->is_string() ? field->get<std::string>() : "";
  const std::string number = given.starts_with("cuda:") ? given.substr(5) : given;
  if (given == "auto" || given == "cpu" || given == "cuda") {
    value = given;
  } else if (is_number(number)) {
    value = "cuda:" + number;
  } else {
    problem(name, "must be auto, cpu, cuda, or the number of one CUDA device, not " + shown(*field) +
                      "; a trainer is one process on one device, so start one on each");
  }
}

void ObjectReader::layers(const char* name, std::vector<std::string>& prefixes) {
  const nlohmann::json* field = take(name);
  if (field == nullptr) return;
  const auto prefix_of = [](int64_t layer) { return "model." + std::to_string(layer); };
  std::vector<std::string> given;
  if (is_layer_number(*field)) {
    for (int64_t layer = 0; layer < field->get<int64_t>(); ++layer) given.push_back(prefix_of(layer));
  } else if (field->is_array()) {
    for (const nlohmann::json& item : *field) {
      if (is_layer_number(item)) {
        given.push_back(prefix_of(item.get<int64_t>()));
      } else if (item.is_string() && !item.get_ref<const std::string&>().empty()) {
        given.push_back(item.get<std::string>());
      } else {
        return problem(name, "holds " + shown(item) + ", which is neither a layer's number nor the start of a name");
      }
    }
  } else {
    return problem(name, "must be the number of layers to freeze, or a list such as [0, 1, \"model.22.cv3\"], not " +
                             shown(*field));
  }
  prefixes = std::move(given);
}

ObjectReader ObjectReader::object(const char* name, const std::string& example) {
  return ObjectReader(take(name), path_of(name), problems_, example);
}

void ObjectReader::finish() {
  if (object_ == nullptr) return;
  for (const auto& item : object_->items()) {
    if (std::find(known_.begin(), known_.end(), item.key()) != known_.end()) continue;
    problems_.push_back(path_of(item.key()) + ": unknown" + suggestion(item.key(), known_));
  }
}

}  // namespace tenfold
