#include "predict.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <system_error>

#include "file_io.h"

namespace tenfold {

PictureFit fit_picture(int width, int height, int imgsz) {
  const FittedSize fitted = fit_into_square(width, height, imgsz);
  return {.scale_x = static_cast<float>(fitted.width) / static_cast<float>(width),
          .scale_y = static_cast<float>(fitted.height) / static_cast<float>(height),
          .pad_x = static_cast<float>((imgsz - fitted.width) / 2),
          .pad_y = static_cast<float>((imgsz - fitted.height) / 2),
          .width = width,
          .height = height};
}

Prediction to_original(std::span<const float, 6> row, const PictureFit& fit) {
  const auto x = [&](float value) {
    return std::clamp((value - fit.pad_x) / fit.scale_x, 0.0F, static_cast<float>(fit.width));
  };
  const auto y = [&](float value) {
    return std::clamp((value - fit.pad_y) / fit.scale_y, 0.0F, static_cast<float>(fit.height));
  };
  return {static_cast<int>(row[5]), row[4], x(row[0]), y(row[1]), x(row[2]), y(row[3])};
}

ReadPicture read_picture(const PictureFile& file, int imgsz) {
  ReadPicture read;
  read.file = &file;
  try {
    read.image = decode_image(read_file(file.path));
  } catch (const ImageError& error) {
    read.defect = error.what();
  } catch (const std::system_error& error) {
    read.defect = error.code().message();
  }
  if (!read.defect.empty()) return read;
  read.fit = fit_picture(read.image.width, read.image.height, imgsz);
  const FittedSize size = fit_into_square(read.image.width, read.image.height, imgsz);
  const Image fitted = resize(read.image, size.width, size.height);
  const Picture picture{fitted.view(), {}, read.image.width, read.image.height};
  read.input = at::empty({3, imgsz, imgsz}, at::kByte);
  std::vector<Label> no_labels;
  letterbox(picture, {read.input.mutable_data_ptr<uint8_t>(), imgsz, imgsz}, no_labels);
  return read;
}

std::vector<ReadPicture> read_batch(std::span<const PictureFile> files, int imgsz, const BatchLimits& limits) {
  std::vector<ReadPicture> batch;
  size_t bytes = 0;
  while (batch.size() < std::min(limits.pictures, files.size()) && bytes < limits.pixel_bytes) {
    ReadPicture& picture = batch.emplace_back(read_picture(files[batch.size()], imgsz));
    if (!limits.keep_pixels) picture.image = {};
    bytes += picture.image.pixels.size();
  }
  return batch;
}

std::vector<std::vector<Prediction>> predict(Detector& model, const ComputeDevice& device,
                                             std::span<const ReadPicture> pictures, const DetectOptions& options) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<Prediction>> predictions(pictures.size());
  std::vector<at::Tensor> inputs;
  std::vector<size_t> sound;
  for (size_t i = 0; i < pictures.size(); ++i) {
    if (!pictures[i].defect.empty()) continue;
    inputs.push_back(pictures[i].input);
    sound.push_back(i);
  }
  if (inputs.empty()) return predictions;
  const auto raw = model.forward_detecting(network_input(at::stack(inputs), device));
  const std::vector<Detections> found = detect(raw, model.head_layout(), options);
  for (size_t i = 0; i < sound.size(); ++i) {
    const at::Tensor rows = found[i].contiguous();
    for (int64_t row = 0; row < rows.size(0); ++row)
      predictions[sound[i]].push_back(to_original(std::span<const float, 6>(rows.const_data_ptr<float>() + row * 6, 6),
                                                  pictures[sound[i]].fit));
  }
  return predictions;
}

}  // namespace tenfold
