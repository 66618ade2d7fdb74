#include "freeze.h"

#include <algorithm>

#include "exit_code.h"

namespace tenfold {
namespace {

/// Whether `name` is `prefix` itself or lies below it; "model.2" is not above "model.22".
bool lies_below(const std::string& name, const std::string& prefix) {
  return name.starts_with(prefix) && (name.size() == prefix.size() || name[prefix.size()] == '.');
}

/// Layers such as Upsample have no parameters, but to freeze the first N layers is to freeze them too.
bool is_layer(const Detector& model, const std::string& prefix) {
  for (size_t i = 0; i < model.spec().layers.size(); ++i) {
    if (prefix == "model." + std::to_string(i)) return true;
  }
  return false;
}

[[noreturn]] void refuse(const std::string& what) {
  throw TrainerError(ExitCode::bad_config, "train.freeze: " + what);
}

}  // namespace

void freeze(Detector& model, const std::vector<std::string>& prefixes) {
  const auto parameters = model.named_parameters();
  for (const std::string& prefix : prefixes) {
    bool found = is_layer(model, prefix);
    for (const auto& item : parameters) {
      if (!lies_below(item.key(), prefix)) continue;
      item.value().set_requires_grad(false);
      found = true;
    }
    if (!found) {
      refuse("the model has nothing called " + prefix + "; its layers are model.0 to model." +
             std::to_string(model.spec().layers.size() - 1));
    }
  }
  const bool trains = std::any_of(parameters.begin(), parameters.end(),
                                  [](const auto& item) { return item.value().requires_grad(); });
  if (!trains) refuse("nothing is left to train");
}

void enter_training_mode(Detector& model, const std::vector<std::string>& prefixes) {
  model.train();
  for (const auto& item : model.named_modules()) {
    for (const std::string& prefix : prefixes) {
      if (lies_below(item.key(), prefix)) item.value()->eval();
    }
  }
}

}  // namespace tenfold
