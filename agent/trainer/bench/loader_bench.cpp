// The loader's side of `npm run bench:loader`.
//
//   tenfold-loader-bench make FOLDER COUNT   writes COUNT JPEGs of 1280x960 with labels, and their data.yaml
//   tenfold-loader-bench serve FOLDER [SIDE] reads lines `MODE COUNT` and answers each with the seconds of processor
//                                            time, of all threads of the process, that COUNT inputs of SIDE (640) took
//
// Modes: letterbox, mosaic; with `-warm` from decoded pictures in memory, with `-disk` from mapped files of them.
#include <ctime>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

#include "allocator.h"
#include "loader.h"
#include "scene.h"

namespace tenfold::bench {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBatch = 16;

std::string numbered(int number, const char* extension) {
  char name[32];
  std::snprintf(name, sizeof name, "%04d.%s", number, extension);
  return name;
}

void make(const fs::path& folder, int count) {
  fs::create_directories(folder / "images");
  fs::create_directories(folder / "labels");
  for (int i = 0; i < count; ++i) {
    const Scene scene = make_scene(1280, 960, static_cast<uint64_t>(i));
    const auto jpeg = encode_jpeg(scene.image, 90);
    std::ofstream(folder / "images" / numbered(i, "jpg"), std::ios::binary)
        .write(reinterpret_cast<const char*>(jpeg.data()), static_cast<std::streamsize>(jpeg.size()));
    std::ofstream labels(folder / "labels" / numbered(i, "txt"));
    for (const Label& l : scene.labels) labels << l.cls << ' ' << l.cx << ' ' << l.cy << ' ' << l.w << ' ' << l.h << '\n';
  }
  std::ofstream(folder / "data.yaml") << "train: images\nval: images\nnames: [round, plate, panel]\n";
}

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// One loader of one thread for each mode, made when it is first asked for.
class Contestant {
 public:
  Contestant(const fs::path& folder, int side)
      : data_(Dataset::open_yaml(folder / "data.yaml", "train")), side_(side), cache_(folder / "decoded") {}

  double seconds(const std::string& mode, int64_t count) {
    const auto [entry, is_new] = loaders_.try_emplace(mode);
    if (is_new) {
      entry->second = std::make_unique<Loader>(data_, options(mode));
      run(*entry->second, mode, data_.size());  // fills the caches
    }
    const double before = processor_seconds();
    run(*entry->second, mode, count);
    return processor_seconds() - before;
  }

 private:
  LoaderOptions options(const std::string& mode) const {
    LoaderOptions options;
    options.imgsz = side_;
    options.threads = 1;
    options.prefetch = 2;
    options.cache_bytes = mode.ends_with("-warm") ? int64_t{1} << 30 : 0;
    if (mode.ends_with("-disk")) options.folder = std::make_shared<PictureFolder>(cache_, int64_t{1} << 30);
    return options;
  }

  void run(Loader& loader, const std::string& mode, int64_t count) {
    std::vector<std::vector<int64_t>> batches;
    for (int64_t i = 0; i < count; ++i) {
      if (i % kBatch == 0) batches.emplace_back();
      batches.back().push_back(next_++ % data_.size());
    }
    std::optional<AugmentOptions> augment;
    if (mode.starts_with("mosaic")) augment.emplace();
    loader.start(++epoch_, std::move(batches), augment);
    while (const auto batch = loader.next())
      if (!batch->corrupt.empty()) throw std::runtime_error(batch->corrupt[0].name + " cannot be read");
  }

  Dataset data_;
  int side_;
  fs::path cache_;
  std::map<std::string, std::unique_ptr<Loader>> loaders_;
  int64_t next_ = 0, epoch_ = 0;
};

void serve(const fs::path& folder, int side) {
  Contestant contestant(folder, side);
  std::string mode;
  int64_t count = 0;
  while (std::cin >> mode >> count) std::cout << contestant.seconds(mode, count) << std::endl;
}

}  // namespace
}  // namespace tenfold::bench

int main(int argc, char** argv) {
  tenfold::keep_freed_memory();  // as the trainer does at its start
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  try {
    if (arguments.size() == 3 && arguments[0] == "make") {
      tenfold::bench::make(arguments[1], std::stoi(arguments[2]));
    } else if ((arguments.size() == 2 || arguments.size() == 3) && arguments[0] == "serve") {
      tenfold::bench::serve(arguments[1], arguments.size() == 3 ? std::stoi(arguments[2]) : 640);
    } else {
      std::cerr << "usage: tenfold-loader-bench make FOLDER COUNT | serve FOLDER [SIDE]\n";
      return 2;
    }
  } catch (const std::exception& error) {
    std::cerr << "tenfold-loader-bench: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
