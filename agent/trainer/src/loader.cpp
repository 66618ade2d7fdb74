#include "loader.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

#include "image.h"

namespace tenfold {

namespace {

using Clock = std::chrono::steady_clock;

/// Memory for a batch: from the pixel pool, to which it returns when the last tensor that views it is gone.
at::Tensor batch_memory(int64_t count, FittedSize size, bool pinned) {
  const auto options = at::TensorOptions(at::kByte);
  const std::array<int64_t, 4> shape{count, 3, size.height, size.width};
  if (pinned) return at::empty(shape, options.pinned_memory(true));
  if (count == 0) return at::empty(shape, options);
  auto memory = std::make_shared<PixelBuffer>(static_cast<size_t>(count * 3 * size.height * size.width));
  uint8_t* const data = memory->data();
  return at::from_blob(
      data, shape, [memory](void*) {}, options);
}

/// (M, 6): index in the batch, class, cx, cy, w, h.
at::Tensor targets_of(const std::vector<std::vector<Label>>& labels) {
  int64_t count = 0;
  for (const auto& of_image : labels) count += static_cast<int64_t>(of_image.size());
  at::Tensor targets = at::empty({count, 6}, at::kFloat);
  float* out = targets.data_ptr<float>();
  for (size_t image = 0; image < labels.size(); ++image)
    for (const Label& label : labels[image])
      for (const float value :
           {static_cast<float>(image), static_cast<float>(label.cls), label.cx, label.cy, label.w, label.h})
        *out++ = value;
  return targets;
}

std::set<int64_t> ids_of(const std::vector<std::vector<Corrupt>>& met) {
  std::set<int64_t> ids;
  for (const auto& of_image : met)
    for (const Corrupt& corrupt : of_image) ids.insert(corrupt.id);
  return ids;
}

/// A batch whose samples are being made, each by whichever thread is free.
struct BatchInMaking {
  BatchInMaking(std::vector<int64_t> sample_ids, FittedSize input_size, bool pinned)
      : ids(std::move(sample_ids)),
        size(input_size),
        images(batch_memory(static_cast<int64_t>(ids.size()), size, pinned)),
        labels(ids.size()),
        letterbox(ids.size()),
        corrupt(ids.size()),
        missing(ids.size()) {}

  std::vector<int64_t> ids;
  FittedSize size;
  at::Tensor images;
  // One an image: threads write to different elements.
  std::vector<std::vector<Label>> labels;
  std::vector<LetterboxInfo> letterbox;
  std::vector<std::vector<Corrupt>> corrupt;
  size_t missing;  // samples still to come; guarded by the run's mutex
};

/// One start(): the threads, the batches in the making, and the samples that nobody has taken up yet.
class Run {
 public:
  Run(PictureStore& store, const LoaderOptions& options, int64_t epoch, std::vector<std::vector<int64_t>> batches,
      Rectangles rectangles, std::optional<AugmentOptions> augment_options)
      : store_(store),
        options_(options),
        epoch_(epoch),
        batches_(std::move(batches)),
        rectangles_(std::move(rectangles)),
        augment_(augment_options) {
    for (int i = 0; i < options_.prefetch; ++i) begin_batch();
    for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { work(); });
  }

  ~Run() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    work_there_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  /// The next batch in order, complete; null after the last.
  std::unique_ptr<BatchInMaking> next() {
    if (window_.empty()) return nullptr;
    auto batch = finished_front();
    begin_batch();
    return batch;
  }

 private:
  struct Job {
    BatchInMaking* batch;
    size_t index;
  };

  std::unique_ptr<BatchInMaking> finished_front() {
    std::unique_lock lock(mutex_);
    sample_done_.wait(lock, [this] { return failure_ != nullptr || window_.front()->missing == 0; });
    if (failure_ != nullptr) std::rethrow_exception(failure_);
    auto batch = std::move(window_.front());
    window_.pop_front();
    return batch;
  }

  void begin_batch() {
    if (begun_ == batches_.size()) return;
    const FittedSize size = input_size(begun_);
    auto batch = std::make_unique<BatchInMaking>(std::move(batches_[begun_++]), size, options_.pinned);
    {
      const std::lock_guard lock(mutex_);
      for (size_t i = 0; i < batch->ids.size(); ++i) jobs_.push_back({batch.get(), i});
      window_.push_back(std::move(batch));
    }
    work_there_.notify_all();
  }

  /// Of batch `index`: square, or the least rectangle of whole strides that holds the pictures that shape it.
  FittedSize input_size(size_t index) {
    if (rectangles_.shaped_by.empty()) return {options_.imgsz, options_.imgsz};
    FittedSize least{rectangles_.stride, rectangles_.stride};
    for (const int64_t id : rectangles_.shaped_by[index]) {
      const auto size = store_.fitted_size(id);
      if (!size) continue;  // corrupt: it fits anywhere
      least.width = std::max(least.width, whole_strides(size->width + margin()));
      least.height = std::max(least.height, whole_strides(size->height + margin()));
    }
    return least;
  }

  int margin() const { return augment_ ? 0 : rectangles_.stride / 2; }

  int whole_strides(int side) const { return (side + rectangles_.stride - 1) / rectangles_.stride * rectangles_.stride; }

  void work() {
    while (const auto job = take_job()) {
      try {
        make_sample(*job->batch, job->index);
        const std::lock_guard lock(mutex_);
        --job->batch->missing;
      } catch (...) {
        const std::lock_guard lock(mutex_);
        failure_ = std::current_exception();
      }
      sample_done_.notify_one();
    }
  }

  std::optional<Job> take_job() {
    std::unique_lock lock(mutex_);
    work_there_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return std::nullopt;
    const Job job = jobs_.front();
    jobs_.pop_front();
    return job;
  }

  void make_sample(BatchInMaking& batch, size_t index) {
    const int64_t id = batch.ids[index];
    std::vector<Corrupt>& corrupt = batch.corrupt[index];
    PlanarOut out{batch.images.data_ptr<uint8_t>(), batch.size.width, batch.size.height};
    out.data += index * 3 * out.plane();
    if (augment_) {
      batch.labels[index] = augment(
          id, store_.dataset().size(), *augment_, SampleRng(options_.seed, epoch_, id),
          [&](int64_t source) { return store_.get(source, corrupt); }, out);
    } else {
      batch.letterbox[index] = letterbox(*store_.get(id, corrupt), out, batch.labels[index]);
    }
  }

  PictureStore& store_;
  const LoaderOptions& options_;
  const int64_t epoch_;
  // Of the caller's thread alone.
  std::vector<std::vector<int64_t>> batches_;
  Rectangles rectangles_;
  size_t begun_ = 0;
  std::deque<std::unique_ptr<BatchInMaking>> window_;  // in order; the front one is delivered next

  const std::optional<AugmentOptions> augment_;
  std::mutex mutex_;  // guards what follows, and how many samples the batches miss
  std::condition_variable work_there_, sample_done_;
  std::deque<Job> jobs_;
  bool stopping_ = false;
  std::exception_ptr failure_;
  std::vector<std::thread> threads_;
};

}  // namespace

struct Loader::Impl {
  Impl(Dataset dataset, const LoaderOptions& loader_options)
      : options(loader_options), store(std::move(dataset), options.imgsz, options.cache_bytes, options.folder) {}

  /// What was met in the batch and not reported before. In the order of the samples, so that it does not depend on
  /// which thread met it first.
  std::vector<Corrupt> unreported(std::vector<std::vector<Corrupt>> met) {
    std::vector<Corrupt> fresh;
    for (auto& of_image : met)
      for (Corrupt& corrupt : of_image)
        if (reported.insert(corrupt.id).second) fresh.push_back(std::move(corrupt));
    return fresh;
  }

  LoaderOptions options;
  PictureStore store;
  std::set<int64_t> reported;
  std::chrono::duration<double> waited{0};
  std::unique_ptr<Run> run;  // last: its threads use the members above
};

Loader::Loader(Dataset dataset, LoaderOptions options) {
  if (options.imgsz <= 0 || options.threads <= 0 || options.prefetch <= 0)
    throw std::invalid_argument("Loader: imgsz, threads and prefetch must be positive");
  impl_ = std::make_unique<Impl>(std::move(dataset), options);
}

Loader::~Loader() = default;

void Loader::start(int64_t epoch, std::vector<std::vector<int64_t>> batches, std::optional<AugmentOptions> augment,
                   Rectangles rectangles) {
  const auto& shaped_by = rectangles.shaped_by;
  if (!shaped_by.empty() && (shaped_by.size() != batches.size() || (augment && augment->mosaic > 0)))
    throw std::invalid_argument("Loader: rectangles need a list of ids for each batch, and no mosaics");
  impl_->run.reset();  // before the next one begins: the machine has few cores
  impl_->run = std::make_unique<Run>(impl_->store, impl_->options, epoch, std::move(batches), std::move(rectangles),
                                     augment);
}

std::optional<Batch> Loader::next() {
  if (impl_->run == nullptr) return std::nullopt;
  const auto begin = Clock::now();
  const auto made = impl_->run->next();
  impl_->waited += Clock::now() - begin;
  if (made == nullptr) return std::nullopt;
  std::set<int64_t> unreadable = ids_of(made->corrupt);
  return Batch{made->images, targets_of(made->labels), std::move(made->ids), std::move(made->letterbox),
               impl_->unreported(std::move(made->corrupt)), std::move(unreadable)};
}

const std::set<int64_t>& Loader::corrupt_ids() const {
  return impl_->reported;
}

double Loader::wait_seconds() const {
  return impl_->waited.count();
}

}  // namespace tenfold
