#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "augment.h"
#include "dataset.h"
#include "picture_store.h"

namespace tenfold {

struct Batch {
  at::Tensor images;   // uint8 (B, 3, H, W), RGB; H = W = imgsz unless the batch has a rectangle of its own
  at::Tensor targets;  // float (M, 6): index in the batch, class, cx, cy, w, h normalised to the H x W input
  std::vector<int64_t> ids;
  std::vector<LetterboxInfo> letterbox;  // one an image; meaningful only without augmentation
  std::vector<Corrupt> corrupt;          // met while making this batch; each id once in the loader's life
  std::set<int64_t> unreadable;          // met while making this batch, whether they were told before or not
};

struct LoaderOptions {
  int imgsz = 640;
  uint64_t seed = 0;
  int threads = 2;
  int prefetch = 4;                        // batches made ahead, at most
  int64_t cache_bytes = int64_t{1} << 30;  // decoded, resized pictures kept in memory up to this; 0: none
  std::shared_ptr<PictureFolder> folder = nullptr;  // where such pictures are kept in files instead; may be null
  bool pinned = false;                     // page-locked batches for copies to a GPU
};

/// Batches that are no squares of imgsz.
struct Rectangles {
  std::vector<std::vector<int64_t>> shaped_by;  // for each batch the ids whose pictures it must hold; empty: squares
  int stride = 32;                              // of the network; sides are multiples of it
};

/// Makes batches in threads of its own and hands them out in order. What a batch holds depends on the data set, the
/// options' imgsz and seed, and start()'s arguments only: not on threads, prefetch, cache, or ranks.
class Loader {
 public:
  Loader(Dataset dataset, LoaderOptions options);
  ~Loader();  // stops at once: waits for the samples in the making, not for the rest
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// Begins to make the batches (lists of sample ids; an empty list gives an empty batch) of `epoch`, dropping what an
  /// earlier start has left over. Without `augment` pictures are letterboxed only. Starting the next epoch as soon as
  /// the last batch of this one is there lets its first batches be made during validation.
  ///
  /// With `rectangles` a batch is the least rectangle that holds its pictures; without `augment` it is half a stride longer
  /// each way, as the published YOLO trainers validate: the picture's edge is seldom the input's. Ranks that give the ids
  /// of the whole global batch get the same shape, whatever they take of it themselves. Mosaics need a square: `augment`
  /// must have none then.
  void start(int64_t epoch, std::vector<std::vector<int64_t>> batches, std::optional<AugmentOptions> augment,
             Rectangles rectangles = {});

  /// The next batch; waits for it. nullopt after the last. Rethrows what went wrong in a thread: std::system_error where
  /// an image file exists and cannot be read.
  std::optional<Batch> next();

  /// The images that could not be read so far, as far as they were met in batches that were handed out.
  const std::set<int64_t>& corrupt_ids() const;

  /// Seconds that next() has waited since the loader was made.
  double wait_seconds() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenfold
