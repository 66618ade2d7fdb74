#include <chrono>
#include <cstdio>
#include <future>
#include <map>
#include <nlohmann/json.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "counted.h"
#include "detector_options.h"
#include "exit_code.h"
#include "file_io.h"
#include "label_file.h"
#include "predict.h"
#include "prediction_files.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kPredictText =
    R"(Finds objects in pictures (JPEG, PNG, WebP). Into the folder `out`, which is made with the first result, go
  NAME.jpg             the picture at its own size (at most a JPEG's 65500 pixels a side), with box, class and score of
                       each object
  labels/NAME.txt      with --save-txt: YOLO's lines, class cx cy w h in shares of the picture (--save-conf: and the score)
  predictions.json     with --json: all of it, boxes as x1, y1, x2, y2 in pixels
NAME is the picture's path below the folder that was searched, without its ending. Where two pictures of a run differ in that
alone, the later by name keeps it: a.jpg is for a.jpg, and a.png.jpg for a.png beside it.

A line a picture goes to stdout. A file that cannot be read is named and skipped, and the exit status is then 11; pictures of
formats that are not read are counted. An `out` that is not empty is refused, since nobody could tell the results of two runs
apart: --exist-ok writes into it, over files of the same names. Where a result would overwrite one of the given pictures, or
its label file, nothing is done.)";

/// Makes runs/predict, or the first of runs/predict2, runs/predict3, … that is not there yet: of two runs at a time
/// each has its own.
fs::path make_run_folder() {
  const fs::path first = "runs/predict";
  fs::create_directories(first.parent_path());
  fs::path folder = first;
  for (int i = 2; fs::exists(folder) || !fs::create_directory(folder); ++i) folder = first.string() + std::to_string(i);
  return folder;
}

/// What is written of a picture, and where.
struct Outputs {
  fs::path folder;  // empty: a new one, which has its name once it is made
  bool pictures = true, txt = false, conf = false, json = false;

  bool any() const { return pictures || txt || json; }
  void make_folder() {
    if (folder.empty())
      folder = make_run_folder();
    else
      fs::create_directories(folder);
  }

  fs::path drawn(const PictureFile& file) const { return folder / (file.name.string() + ".jpg"); }
  fs::path labels(const PictureFile& file) const { return folder / "labels" / (file.name.string() + ".txt"); }
};

Outputs outputs_of(const CommandArguments& arguments) {
  return {.folder = arguments.text("out").value_or(""),
          .pictures = !arguments.flag("no-pictures"),
          .txt = arguments.flag("save-txt") || arguments.flag("save-conf"),
          .conf = arguments.flag("save-conf"),
          .json = arguments.flag("json")};
}

/// A file, whatever path leads to it.
using FileIdentity = std::pair<dev_t, ino_t>;

std::optional<FileIdentity> file_identity(const fs::path& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return FileIdentity{status.st_dev, status.st_ino};
}

/// Throws TrainerError(usage) if an output is one of the pictures that are read, or the label file of one: those may be
/// the only ones that their owner has.
void refuse_overwriting(const std::vector<PictureFile>& files, const Outputs& outputs, const CommandArguments& arguments) {
  if (!fs::exists(outputs.folder)) return;
  std::map<FileIdentity, fs::path> originals;
  for (const PictureFile& file : files)
    for (const fs::path& path : {file.path, label_path_of(file.path)})
      if (const auto identity = file_identity(path)) originals.emplace(*identity, path);
  const auto check = [&](const fs::path& output) {
    const auto identity = file_identity(output);
    if (!identity || !originals.contains(*identity)) return;
    arguments.fail("out", outputs.folder.string() + " would have a result overwrite " + originals.at(*identity).string() +
                              "; name a folder for results alone");
  };
  for (const PictureFile& file : files) {
    if (outputs.pictures) check(outputs.drawn(file));
    if (outputs.txt) check(outputs.labels(file));
  }
}

/// Throws TrainerError(usage) if there is something in the folder, unless that was said to be all right.
void refuse_mixing(const Outputs& outputs, const CommandArguments& arguments) {
  if (!outputs.any() || !fs::exists(outputs.folder)) return;
  if (!fs::is_directory(outputs.folder)) arguments.fail("out", outputs.folder.string() + " is no folder");
  if (arguments.flag("exist-ok") || fs::is_empty(outputs.folder)) return;
  arguments.fail("out", outputs.folder.string() +
                            " is not empty, and nobody could tell its results and these apart; name another folder, or "
                            "write into this one with --exist-ok");
}

/// How far it is, on a terminal: one line that is redrawn.
class ProgressLine {
 public:
  explicit ProgressLine(size_t total) : total_(total), terminal_(::isatty(STDERR_FILENO) == 1) {}
  void show(size_t done) {
    if (terminal_) std::fprintf(stderr, "\r\033[K%zu/%zu  %.1f images/s", done, total_, rate(done));
  }
  void clear() const {
    if (terminal_) std::fprintf(stderr, "\r\033[K");
  }
  double rate(size_t done) const {
    return static_cast<double>(done) / std::chrono::duration<double>(Clock::now() - start_).count();
  }

 private:
  size_t total_;
  bool terminal_;
  Clock::time_point start_ = Clock::now();
};

/// Writes down what was found, picture by picture.
class Results {
 public:
  Results(Outputs outputs, const std::vector<std::string>& names) : outputs_(std::move(outputs)), names_(names) {}

  void write(const std::vector<ReadPicture>& pictures, const std::vector<std::vector<Prediction>>& found) {
    for (size_t i = 0; i < pictures.size(); ++i) write_one(pictures[i], found[i]);
  }

  void finish() {
    if (!outputs_.json) return;
    outputs_.make_folder();
    replace_file(outputs_.folder / "predictions.json", predictions_.dump(1, ' ', false, kReplace) + "\n");
  }

  /// ", results in FOLDER", or nothing where none were asked for.
  std::string place() const { return outputs_.any() ? ", results in " + outputs_.folder.string() : ""; }
  size_t corrupt() const { return corrupt_; }

 private:
  static constexpr auto kReplace = nlohmann::ordered_json::error_handler_t::replace;

  void write_one(const ReadPicture& picture, const std::vector<Prediction>& found) {
    const std::string path = picture.file->path.string();
    if (outputs_.json) predictions_.push_back(prediction_json(picture, found, names_));
    if (!picture.defect.empty()) {
      ++corrupt_;
      std::fprintf(stderr, "%s: %s; skipped\n", path.c_str(), picture.defect.c_str());
      return;
    }
    std::printf("%s: %s\n", path.c_str(), prediction_summary(found, names_).c_str());
    if (outputs_.any()) outputs_.make_folder();
    if (outputs_.pictures) write_drawn_picture(outputs_.drawn(*picture.file), picture.image, found, names_);
    if (!outputs_.txt) return;
    const fs::path labels = outputs_.labels(*picture.file);
    fs::create_directories(labels.parent_path());
    replace_file(labels, yolo_lines(found, picture.fit.width, picture.fit.height, outputs_.conf));
  }

  Outputs outputs_;
  const std::vector<std::string>& names_;
  nlohmann::ordered_json predictions_ = nlohmann::ordered_json::array();
  size_t corrupt_ = 0;
};

/// While the network looks at one batch, the next is read and the one before is written.
void predict_all(const std::vector<PictureFile>& files, const BatchLimits& limits, RunningDetector& detector,
                 const DetectOptions& options, Results& results, ProgressLine& progress) {
  const auto read = [&](size_t first) { return read_batch(std::span(files).subspan(first), detector.imgsz, limits); };
  std::future<void> writing;
  auto reading = std::async(std::launch::async, read, size_t{0});
  for (size_t done = 0; done < files.size();) {
    auto pictures = std::make_shared<std::vector<ReadPicture>>(reading.get());
    done += pictures->size();
    if (done < files.size()) reading = std::async(std::launch::async, read, done);
    auto found = predict(*detector.loaded.model, detector.device, *pictures, options);
    if (writing.valid()) writing.get();
    progress.clear();
    writing = std::async(std::launch::async,
                         [&results, pictures, found = std::move(found)] { results.write(*pictures, found); });
    progress.show(done);
  }
  writing.get();
  progress.clear();
}

/// Says how it went. Throws TrainerError(bad_data) where a file could not be read.
void tell_end(const Results& results, size_t files, const ProgressLine& progress) {
  const size_t read = files - results.corrupt();
  if (read == 0)
    throw TrainerError(ExitCode::bad_data, files == 1
                                               ? "the file could not be read"
                                               : "none of the " + std::to_string(files) + " files could be read");
  std::fprintf(stderr, "%s, %.1f images/s%s\n", counted(static_cast<int64_t>(read), "image").c_str(),
               progress.rate(read), results.place().c_str());
  if (read < files)
    throw TrainerError(ExitCode::bad_data,
                       std::to_string(results.corrupt()) + " of " + std::to_string(files) + " files could not be read");
}

int predict_pictures(const CommandArguments& arguments) {
  const std::string source = arguments.required("source");
  const auto conf = arguments.number("conf", 0, 1);
  const auto iou = arguments.number("iou", 0, 1);
  const DetectOptions options{.conf = static_cast<float>(conf.value_or(0.25)),
                              .iou = static_cast<float>(iou.value_or(0.7)),
                              .max_det = arguments.integer("max-det", 1, 30'000).value_or(300)};
  const BatchLimits limits{.pictures = static_cast<size_t>(arguments.integer("batch", 1, 1024).value_or(8)),
                           .keep_pixels = !arguments.flag("no-pictures")};
  const auto [files, left_out] = find_pictures(source);
  Outputs outputs = outputs_of(arguments);
  refuse_overwriting(files, outputs, arguments);
  refuse_mixing(outputs, arguments);
  if (!left_out.empty()) std::fprintf(stderr, "warning: %s\n", left_out.c_str());
  RunningDetector detector = open_detector(arguments);
  Results results(std::move(outputs), detector.loaded.names);
  ProgressLine progress(files.size());
  predict_all(files, limits, detector, options, results, progress);
  results.finish();
  tell_end(results, files.size(), progress);
  return 0;
}

}  // namespace

Command predict_command() {
  return {.name = "predict",
          .operands = "WEIGHTS.safetensors",
          .summary = "find objects in pictures",
          .text = kPredictText,
          .options = {{"source", "PATH", "a picture, a folder, or a pattern in quotes; ** is any depth"},
                      {"conf", "X", "least score of a detection (0.25)"},
                      {"iou", "X", "most overlap with a better box of the same class (0.7)"},
                      {"imgsz", "N", "side of the network's input in pixels (as it was trained)"},
                      {"max-det", "N", "most detections a picture (300)"},
                      {"batch", "N", "pictures at a time, at most (8)"},
                      {"device", "NAME", "auto, cpu, cuda, or a GPU as N or cuda:N (auto)"},
                      {"out", "FOLDER", "where results go (runs/predict, or a new one beside it)"},
                      {"exist-ok", "", "write into `out` even if it is not empty"},
                      {"save-txt", "", "write YOLO label files"},
                      {"save-conf", "", "write them with scores"},
                      {"json", "", "write predictions.json"},
                      {"no-pictures", "", "do not draw pictures"},
                      {"arch", "MODEL", "the network, where the weights do not say it"}},
          .refused = {{"half", "not supported; the network runs in full precision"},
                      {"classes", "not supported; --json tells the class of each object, to choose by"},
                      {"save", "pictures are drawn unless --no-pictures is given"},
                      {"plots", "pictures are drawn unless --no-pictures is given"},
                      {"show", "not supported; the drawn pictures are in the folder `out`"},
                      {"line-width", "lines are as wide as suits the picture's size"},
                      {"show-labels", "boxes always have class and score"},
                      {"show-conf", "boxes always have class and score"},
                      {"save-crop", "not supported; --json has the boxes to cut out"},
                      {"verbose", "each picture always has its line"},
                      {"project", "set `out`, the folder of the results"},
                      {"name", "set `out`, the folder of the results"},
                      {"agnostic-nms", "not supported; a box gives way to better ones of its own class"},
                      {"vid-stride", "not supported; only pictures are read"},
                      {"stream", "not supported; only pictures are read"},
                      {"augment", "not supported; a picture is looked at once"},
                      {"task", "only detectors are run here"},
                      {"mode", "the command says it: tenfold-trainer predict"}},
          .examples = {"predict best.safetensors source=photo.jpg",
                       "predict best.safetensors source=photos conf=0.4 --save-txt --json --out found",
                       "predict best.safetensors source='line3/**/*.png' --json --no-pictures"},
          .run = predict_pictures};
}

}  // namespace tenfold
