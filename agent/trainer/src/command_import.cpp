#include <cstdio>
#include <nlohmann/json.hpp>

#include "checkpoint_weights.h"
#include "commands.h"
#include "counted.h"
#include "detector_options.h"
#include "exit_code.h"
#include "file_io.h"
#include "torch_checkpoint.h"
#include "weights_file.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;

constexpr const char* kImportText = R"(Makes the weights in a PyTorch checkpoint (.pt) into a safetensors file that train (model.weights), val, predict and export
take. A .pt is a program to PyTorch; here it is read as data. Nothing in it is run: a file that would have a function called
is refused by its name, and nothing is written.

Taken are whole models and state dicts, by themselves or under "ema" (first), "model" or "state_dict", in half precision or
full. The names of the tensors stay as they are, and are compared with the built-in models.)";

void refuse_weights(const fs::path& file) {
  if (file.extension() == ".safetensors")
    throw TrainerError(ExitCode::bad_config,
                       file.string() + ": these are weights already, and need no import: train takes them as weights=" +
                           file.string() + ", and val, predict and export as they are");
}

CheckpointWeights read_checkpoint_weights(const fs::path& file) {
  try {
    TorchCheckpoint checkpoint(file);
    return weights_in(checkpoint);
  } catch (const CheckpointError& error) {
    const std::string message = error.what();
    throw TrainerError(ExitCode::bad_config,
                       message.starts_with(file.string()) ? message : file.string() + ": " + message);
  }
}

/// The network that the weights are for: the one that was named, else the built-in one that fits best.
std::optional<Fit> fit_of(const CheckpointWeights& weights, const std::optional<std::string>& arch) {
  const std::optional<int> nc = weights.nc ? weights.nc : classes_of(weights.tensors);
  if (!arch) return best_built_in_fit(weights.tensors, nc);
  if (!nc) throw TrainerError(ExitCode::bad_config, "the checkpoint does not say how many classes it is for");
  return fit_tensors(load_model_spec(*arch), *nc, weights.tensors);
}

std::vector<std::string> class_names(const CheckpointWeights& weights, int nc) {
  if (weights.names.size() == static_cast<size_t>(nc)) return weights.names;
  std::vector<std::string> names;
  for (int cls = 0; cls < nc; ++cls) names.push_back("class" + std::to_string(cls));
  return names;
}

/// What the file is to say about itself. Of weights that fit no network: what the checkpoint said.
Metadata metadata_for(const CheckpointWeights& weights, const std::optional<Fit>& fit) {
  constexpr int kUsualSide = 640;
  Metadata metadata;
  if (fit && fit->complete()) {
    const Detector& model = *fit->model;
    metadata = weights_metadata(model, model.spec().name, class_names(weights, model.nc()),
                                weights.imgsz.value_or(kUsualSide));
  } else {
    if (weights.nc) metadata["nc"] = std::to_string(*weights.nc);
    if (weights.stride) metadata["stride"] = std::to_string(*weights.stride);
    if (!weights.names.empty())
      metadata["names"] =
          nlohmann::json(weights.names).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    metadata["trainer"] = std::string("tenfold-trainer ") + TENFOLD_VERSION;
  }
  metadata["imported_from"] = weights.found_in;
  return metadata;
}

/// The file appears whole or not at all.
void write_whole(const fs::path& out, const NamedTensors& tensors, const Metadata& metadata) {
  const fs::path part = out.string() + ".part";
  make_folder_of(out);
  try {
    write_safetensors(part, tensors, metadata);
    fs::rename(part, out);
  } catch (...) {
    std::error_code ignored;
    fs::remove(part, ignored);
    throw;
  }
  sync_folder(out.parent_path().empty() ? "." : out.parent_path());
}

void report(const fs::path& out, const CheckpointWeights& weights, const std::optional<Fit>& fit) {
  std::printf("%s\n", out.c_str());
  std::fprintf(stderr, "%s from %s\n", counted(static_cast<int64_t>(weights.tensors.size()), "tensor").c_str(),
               weights.found_in.c_str());
  if (!fit) {
    std::fprintf(stderr, "no built-in model has tensors like these; name the model yaml with arch= where they are used\n");
    return;
  }
  const std::string& name = fit->model->spec().name;
  if (fit->complete())
    std::fprintf(stderr, "all %lld tensors of %s, %s\n", static_cast<long long>(fit->wanted), name.c_str(),
                 counted(fit->model->nc(), "class", "classes").c_str());
  else
    std::fprintf(stderr,
                 "closest model: %s, of which it has %lld of %lld tensors; good to start a training from, and for a model "
                 "yaml of yours that has these layers (arch=)\n",
                 name.c_str(), static_cast<long long>(fit->fitting), static_cast<long long>(fit->wanted));
}

int import_checkpoint(const CommandArguments& arguments) {
  const fs::path file = arguments.operands().front();
  refuse_weights(file);
  const fs::path usual = fs::path(file).replace_extension(".safetensors");
  if (is_same_file(arguments.text("out").value_or(usual.string()), file))
    arguments.fail("out", "would overwrite the checkpoint " + file.string() + "; name another file");
  const fs::path out = output_file(arguments, usual);
  set_up_cpu(usual_threads());
  const CheckpointWeights weights = read_checkpoint_weights(file);
  const std::optional<Fit> fit = fit_of(weights, arguments.text("arch"));
  write_whole(out, weights.tensors, metadata_for(weights, fit));
  report(out, weights, fit);
  return 0;
}

}  // namespace

Command import_command() {
  return {.name = "import",
          .operands = "FILE.pt",
          .summary = "make a PyTorch checkpoint into weights, without running it",
          .text = kImportText,
          .options = {{"out", "FILE", "where to (FILE.safetensors)"},
                      {"force", "", "overwrite that file where it is there already"},
                      {"arch", "MODEL", "the network: a built-in name or a model yaml (the built-in one that fits best)"}},
          .examples = {"import yolov8n.pt", "import runs/exp/weights/best.pt --out best.safetensors",
                       "import mine.pt --arch mine.yaml"},
          .run = import_checkpoint};
}

}  // namespace tenfold
