#include <chrono>
#include <cstdio>
#include <future>
#include <nlohmann/json.hpp>

#include <unistd.h>

#include "commands.h"
#include "detector_options.h"
#include "exit_code.h"
#include "file_io.h"
#include "predict.h"
#include "prediction_files.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kPredictText = R"(Finds objects in pictures (JPEG, PNG, WebP). Into the folder `out` go
  NAME.jpg             the picture at its own size, with box, class and score of each object
  labels/NAME.txt      with --save-txt: YOLO's lines, class cx cy w h in shares of the picture (--save-conf: and the score)
  predictions.json     with --json: all of it, boxes as x1, y1, x2, y2 in pixels
A line a picture goes to stdout. A file that cannot be read is named and skipped, and the exit status is then 11.)";

/// runs/predict, or the first of runs/predict2, runs/predict3, … that is not there yet.
fs::path new_run_folder() {
  const fs::path first = "runs/predict";
  fs::path folder = first;
  for (int i = 2; fs::exists(folder); ++i) folder = first.string() + std::to_string(i);
  return folder;
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
  Results(const CommandArguments& arguments, const std::vector<std::string>& names)
      : names_(names),
        out_(arguments.text("out").value_or(new_run_folder().string())),
        pictures_(!arguments.flag("no-pictures")),
        txt_(arguments.flag("save-txt") || arguments.flag("save-conf")),
        conf_(arguments.flag("save-conf")),
        json_(arguments.flag("json")) {
    fs::create_directories(txt_ ? out_ / "labels" : out_);
  }

  void write(const std::vector<ReadPicture>& pictures, const std::vector<std::vector<Prediction>>& found) {
    for (size_t i = 0; i < pictures.size(); ++i) write_one(pictures[i], found[i]);
  }

  void finish() const {
    if (json_) replace_file(out_ / "predictions.json", predictions_.dump(1, ' ', false, kReplace) + "\n");
  }

  const fs::path& folder() const { return out_; }
  size_t corrupt() const { return corrupt_; }

 private:
  static constexpr auto kReplace = nlohmann::ordered_json::error_handler_t::replace;

  void write_one(const ReadPicture& picture, const std::vector<Prediction>& found) {
    const std::string path = picture.file->path.string();
    if (json_) predictions_.push_back(prediction_json(picture, found, names_));
    if (!picture.defect.empty()) {
      ++corrupt_;
      std::fprintf(stderr, "%s: %s; skipped\n", path.c_str(), picture.defect.c_str());
      return;
    }
    std::printf("%s: %s\n", path.c_str(), prediction_summary(found, names_).c_str());
    const std::string name = picture.file->name.string();
    if (pictures_) write_drawn_picture(out_ / (name + ".jpg"), picture.image, found, names_);
    if (!txt_) return;
    const fs::path labels = out_ / "labels" / (name + ".txt");
    fs::create_directories(labels.parent_path());
    replace_file(labels, yolo_lines(found, picture.fit.width, picture.fit.height, conf_));
  }

  const std::vector<std::string>& names_;
  fs::path out_;
  bool pictures_, txt_, conf_, json_;
  nlohmann::ordered_json predictions_ = nlohmann::ordered_json::array();
  size_t corrupt_ = 0;
};

/// While the network looks at one batch, the next is read and the one before is written.
void predict_all(const std::vector<PictureFile>& files, size_t batch, RunningDetector& detector,
                 const DetectOptions& options, Results& results, ProgressLine& progress) {
  const auto read = [&](size_t first) {
    std::vector<ReadPicture> pictures;
    for (size_t i = first; i < std::min(first + batch, files.size()); ++i)
      pictures.push_back(read_picture(files[i], detector.imgsz));
    return pictures;
  };
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

int predict_pictures(const CommandArguments& arguments) {
  const std::string source = arguments.required("source");
  const auto conf = arguments.number("conf", 0, 1);
  const auto iou = arguments.number("iou", 0, 1);
  const DetectOptions options{.conf = static_cast<float>(conf.value_or(0.25)),
                              .iou = static_cast<float>(iou.value_or(0.7)),
                              .max_det = arguments.integer("max-det", 1, 30'000).value_or(300)};
  const auto batch = static_cast<size_t>(arguments.integer("batch", 1, 1024).value_or(8));
  const std::vector<PictureFile> files = find_pictures(source);
  RunningDetector detector = open_detector(arguments);
  Results results(arguments, detector.loaded.names);
  ProgressLine progress(files.size());
  predict_all(files, batch, detector, options, results, progress);
  results.finish();
  std::fprintf(stderr, "%zu images, %.1f images/s, results in %s\n", files.size(), progress.rate(files.size()),
               results.folder().c_str());
  if (results.corrupt() == 0) return 0;
  throw TrainerError(ExitCode::bad_data,
                     std::to_string(results.corrupt()) + " of " + std::to_string(files.size()) + " files could not be read");
}

}  // namespace

Command predict_command() {
  return {.name = "predict",
          .operands = "WEIGHTS.safetensors",
          .summary = "find objects in pictures",
          .text = kPredictText,
          .options = {{"source", "PATH", "a picture, a folder, or a pattern in quotes"},
                      {"conf", "X", "least score of a detection (0.25)"},
                      {"iou", "X", "most overlap with a better box of the same class (0.7)"},
                      {"imgsz", "N", "side of the network's input in pixels (as it was trained)"},
                      {"max-det", "N", "most detections a picture (300)"},
                      {"batch", "N", "pictures at a time (8)"},
                      {"device", "NAME", "auto, cpu, cuda or cuda:N (auto)"},
                      {"out", "FOLDER", "where results go (runs/predict, or a new one beside it)"},
                      {"save-txt", "", "write YOLO label files"},
                      {"save-conf", "", "write them with scores"},
                      {"json", "", "write predictions.json"},
                      {"no-pictures", "", "do not draw pictures"},
                      {"arch", "MODEL", "the network, where the weights do not say it"}},
          .examples = {"predict best.safetensors source=photo.jpg",
                       "predict best.safetensors source=photos conf=0.4 --save-txt --json --out found",
                       "predict best.safetensors source='line3/*.png' --json --no-pictures"},
          .run = predict_pictures};
}

}  // namespace tenfold
