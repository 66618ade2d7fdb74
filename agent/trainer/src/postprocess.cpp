#include "postprocess.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstdint>

#include "box.h"

namespace tenfold {
namespace {

struct Candidate {
  float score;
  int32_t cls;
  int32_t anchor;
};

bool better(const Candidate& a, const Candidate& b) {
  if (a.score != b.score) return a.score > b.score;
  return a.anchor != b.anchor ? a.anchor < b.anchor : a.cls < b.cls;
}

/// One image's decoded predictions: rows cx, cy, w, h, then a row of scores a class, each of `anchors` floats.
struct Predictions {
  const float* rows;
  int64_t anchors;
  int64_t classes;
  const float* box_row(int64_t i) const { return rows + i * anchors; }
  const float* score_row(int64_t cls) const { return rows + (4 + cls) * anchors; }
};

/// Every class of every anchor that scores above `conf`.
std::vector<Candidate> all_candidates(const Predictions& image, float conf) {
  std::vector<Candidate> candidates;
  for (int64_t cls = 0; cls < image.classes; ++cls) {
    const float* scores = image.score_row(cls);
    for (int64_t i = 0; i < image.anchors; ++i)
      if (scores[i] > conf) candidates.push_back({scores[i], static_cast<int32_t>(cls), static_cast<int32_t>(i)});
  }
  return candidates;
}

/// The best class of every anchor, where it scores above `conf`.
std::vector<Candidate> best_candidates(const Predictions& image, float conf) {
  std::vector<float> best(static_cast<size_t>(image.anchors), conf);
  std::vector<int32_t> best_class(best.size(), -1);
  for (int64_t cls = 0; cls < image.classes; ++cls) {
    const float* scores = image.score_row(cls);
    for (size_t i = 0; i < best.size(); ++i) {
      const bool higher = scores[i] > best[i];
      best[i] = higher ? scores[i] : best[i];
      best_class[i] = higher ? static_cast<int32_t>(cls) : best_class[i];
    }
  }
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < best.size(); ++i)
    if (best_class[i] >= 0) candidates.push_back({best[i], best_class[i], static_cast<int32_t>(i)});
  return candidates;
}

/// Best first, and no more than `limit`.
void keep_best(std::vector<Candidate>& candidates, int limit) {
  const auto count = static_cast<size_t>(std::max(limit, 0));
  if (candidates.size() > count) {
    std::nth_element(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(count), candidates.end(), better);
    candidates.resize(count);
  }
  std::sort(candidates.begin(), candidates.end(), better);
}

struct Box {
  float x1, y1, x2, y2;
};

Box box_of(const Predictions& image, int32_t anchor) {
  const float cx = image.box_row(0)[anchor], cy = image.box_row(1)[anchor];
  const float half_w = image.box_row(2)[anchor] / 2, half_h = image.box_row(3)[anchor] / 2;
  return {cx - half_w, cy - half_h, cx + half_w, cy + half_h};
}

/// Boxes that were kept, in columns so that the comparison with all of them runs in vector registers.
class KeptBoxes {
 public:
  bool overlaps(const Box& box, float threshold) const {
    const float area = (box.x2 - box.x1) * (box.y2 - box.y1);
    bool found = false;
    for (size_t i = 0; i < x1_.size(); ++i) {
      const float width = std::max(0.0F, std::min(box.x2, x2_[i]) - std::max(box.x1, x1_[i]));
      const float height = std::max(0.0F, std::min(box.y2, y2_[i]) - std::max(box.y1, y1_[i]));
      const float intersection = width * height;
      found |= intersection > threshold * (area + area_[i] - intersection);
    }
    return found;
  }

  void add(const Box& box) {
    x1_.push_back(box.x1);
    y1_.push_back(box.y1);
    x2_.push_back(box.x2);
    y2_.push_back(box.y2);
    area_.push_back((box.x2 - box.x1) * (box.y2 - box.y1));
  }

 private:
  std::vector<float> x1_, y1_, x2_, y2_, area_;
};

Detections suppress_image(const Predictions& image, const DetectOptions& options) {
  auto candidates = options.multi_label && image.classes > 1 ? all_candidates(image, options.conf)
                                                             : best_candidates(image, options.conf);
  keep_best(candidates, options.max_candidates);
  std::vector<KeptBoxes> kept(options.class_agnostic ? 1 : static_cast<size_t>(image.classes));
  std::vector<float> rows;
  int count = 0;
  for (const auto& candidate : candidates) {
    if (count == options.max_det) break;
    const Box box = box_of(image, candidate.anchor);
    auto& rivals = kept[options.class_agnostic ? 0 : static_cast<size_t>(candidate.cls)];
    if (rivals.overlaps(box, options.iou)) continue;
    rivals.add(box);
    rows.insert(rows.end(), {box.x1, box.y1, box.x2, box.y2, candidate.score, static_cast<float>(candidate.cls)});
    ++count;
  }
  return at::tensor(rows, at::kFloat).view({count, 6});
}

}  // namespace

std::vector<Detections> suppress(const at::Tensor& decoded, const DetectOptions& options) {
  const auto on_cpu = decoded.detach().to(at::kCPU, at::kFloat).contiguous();  // (B, 4 + nc, A)
  const int64_t batch = on_cpu.size(0), rows = on_cpu.size(1), anchors = on_cpu.size(2);
  const float* data = on_cpu.const_data_ptr<float>();
  std::vector<Detections> detections(static_cast<size_t>(batch));
  at::parallel_for(0, batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      detections[static_cast<size_t>(i)] = suppress_image({data + i * rows * anchors, anchors, rows - 4}, options);
  });
  return detections;
}

at::Tensor best_detections(const at::Tensor& decoded, int64_t most) {
  const int64_t anchors = decoded.size(2);
  const auto scores = decoded.narrow(1, 4, decoded.size(1) - 4).flatten(1);  // (B, nc * A)
  const auto count = std::min(most, scores.size(1));
  const auto [score, place] = scores.topk(count, 1);  // (B, count), descending
  const auto anchor = place.remainder(anchors).unsqueeze(1).expand({-1, 4, -1});
  const auto boxes = xywh_to_xyxy(decoded.narrow(1, 0, 4).gather(2, anchor).transpose(1, 2));
  const auto cls = place.floor_divide(anchors).to(boxes.scalar_type());
  return at::cat({boxes, score.unsqueeze(2), cls.unsqueeze(2)}, 2);
}

std::vector<Detections> select_best(const at::Tensor& decoded, const DetectOptions& options) {
  const at::NoGradGuard no_grad;
  const auto rows = best_detections(decoded, options.max_det).to(at::kCPU, at::kFloat);
  std::vector<Detections> detections;
  for (const auto& image : rows.unbind(0)) {
    const auto kept = (image.select(1, 4) > options.conf).sum().item<int64_t>();
    detections.push_back(image.narrow(0, 0, kept));
  }
  return detections;
}

std::vector<Detections> detect(const std::vector<at::Tensor>& raw, const HeadLayout& layout,
                               const DetectOptions& options) {
  switch (layout.family) {
    case Family::v5:
    case Family::v8:
      return suppress(decode(raw, layout), options);
    case Family::v10:
      return select_best(decode(raw, layout), options);
  }
  throw std::logic_error("a family without detections");
}

}  // namespace tenfold
