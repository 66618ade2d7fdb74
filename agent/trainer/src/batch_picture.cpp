#include "batch_picture.h"

#include <algorithm>
#include <span>

#include "draw.h"
#include "shown_name.h"

namespace tenfold {

Image image_from_tensor(const at::Tensor& planar) {
  const at::Tensor interleaved = planar.permute({1, 2, 0}).contiguous();
  Image image(static_cast<int>(interleaved.size(1)), static_cast<int>(interleaved.size(0)));
  std::copy_n(interleaved.const_data_ptr<uint8_t>(), image.pixels.size(), image.pixels.data());
  return image;
}

Image batch_picture(const Batch& batch, const std::vector<std::string>& names, int max_images) {
  const int64_t count = std::min<int64_t>(batch.images.size(0), max_images);
  const auto height = static_cast<float>(batch.images.size(2)), width = static_cast<float>(batch.images.size(3));
  std::vector<std::vector<DrawnBox>> boxes(static_cast<size_t>(count));
  const auto targets = batch.targets.accessor<float, 2>();
  for (int64_t row = 0; row < targets.size(0); ++row) {
    const auto target = targets[row];
    const auto image = static_cast<size_t>(target[0]);
    if (image >= boxes.size()) continue;
    const auto cls = static_cast<int>(target[1]);
    boxes[image].push_back({(target[2] - target[4] / 2) * width, (target[3] - target[5] / 2) * height,
                            (target[2] + target[4] / 2) * width, (target[3] + target[5] / 2) * height, cls,
                            name_on_picture(names, cls)});
  }
  std::vector<Image> pictures;
  for (int64_t i = 0; i < count; ++i)
    pictures.push_back(draw_boxes(image_from_tensor(batch.images[i]), boxes[static_cast<size_t>(i)]));
  constexpr int kCell = 480;
  return picture_grid(pictures, kCell);
}

}  // namespace tenfold
