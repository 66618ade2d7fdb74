#pragma once

#include <cstdint>
#include <functional>
#include <optional>

namespace tenfold {

/// Bytes at the peak of a forward and backward pass of so many images; nullopt when the device ran out of memory.
using MemoryProbe = std::function<std::optional<int64_t>(int64_t images)>;

struct FittingBatch {
  int64_t images = 0;
  int64_t peak_bytes = 0;  // as measured with `images`
};

/// The most images, up to `limit`, whose pass was seen to stay within `budget` bytes. Sizes double as long as the line
/// through the last two measurements lets expect that the next one fits too; then the line's own answer is tried. So the
/// budget is hardly ever exceeded on the way, which matters where the machine kills whoever takes too much. Within a
/// sixteenth of the best. `images` is 0 when not even one fits.
FittingBatch largest_batch(const MemoryProbe& probe, int64_t budget, int64_t limit);

struct Snapshot;
struct Training;

/// Whether settle_batch() will measure, and needs the other ranks for that.
bool measures_memory(const Training& training);

/// Settles how many images an optimizer step takes (config.train.batch) and a pass of one rank (device_batch), where the
/// arguments leave that open: measures on this rank's device, agrees with the other ranks on the least, and tells it.
/// `earlier` is the checkpoint that the training goes on from, or null. With `batch: auto` its batch stays. So does its
/// device_batch on as many ranks, as long as their devices hold such a pass: batch norms see the parts of a batch, and
/// with others the training would go another way.
/// The data must be open. Throws TrainerError(out_of_memory) when a device cannot hold the pass of a single image.
void settle_batch(Training& training, const Snapshot* earlier);

}  // namespace tenfold
