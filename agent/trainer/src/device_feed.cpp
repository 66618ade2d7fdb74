#include "device_feed.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace tenfold {

DeviceFeed::DeviceFeed(Loader& loader, const at::Device& device) : loader_(loader), device_(device) {
  if (!device.is_cuda()) return;
  stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
  ahead_ = begin_copy();
}

std::optional<Batch> DeviceFeed::next() {
  if (!stream_) return loader_.next();
  if (!ahead_) return std::nullopt;
  Copy copy = std::move(*ahead_);
  const c10::impl::VirtualGuardImpl gpu(device_.type());
  const c10::Stream computing = gpu.getStream(device_);
  copy.done.block(computing);
  // The allocator must not hand the memory to another copy while the computing stream still reads it.
  for (const at::Tensor& tensor : {copy.batch.images, copy.batch.targets}) {
    gpu.recordDataPtrOnStream(tensor.storage().data_ptr(), computing);
  }
  ahead_ = begin_copy();
  return std::move(copy.batch);
}

/// The loader's memory is page-locked and stays so until the copy is over: the pinned allocator sees to that.
std::optional<DeviceFeed::Copy> DeviceFeed::begin_copy() {
  std::optional<Batch> batch = loader_.next();
  if (!batch) return std::nullopt;
  const c10::StreamGuard copying(*stream_);
  batch->images = batch->images.to(device_, /*non_blocking=*/true);
  batch->targets = batch->targets.to(device_, /*non_blocking=*/true);
  Copy copy{std::move(*batch), c10::Event(device_.type())};
  copy.done.record(*stream_);
  return copy;
}

Batch on_host(Batch batch) {
  batch.images = batch.images.to(at::kCPU);
  batch.targets = batch.targets.to(at::kCPU);
  return batch;
}

}  // namespace tenfold
