// The losses behind make_detection_loss(), and what they share.
#pragma once

#include <memory>
#include <vector>

#include "assigner.h"
#include "loss.h"

namespace tenfold {

/// v8 and v10: task-aligned assignment, CIoU and DFL on the assigned anchors, BCE on all class scores. The raw maps are
/// one list of scales for each of `branches`, one after the other, each assigned by its own options.
std::unique_ptr<DetectionLoss> make_task_aligned_loss(const HeadLayout& layout, const LossGains& gains,
                                                      const std::vector<AssignerOptions>& branches);

/// v5: boxes learn at anchors of similar shape in nearby cells; CIoU, objectness, BCE on the matched cells' classes.
std::unique_ptr<DetectionLoss> make_anchor_loss(const HeadLayout& layout, const LossGains& gains);
}  // namespace tenfold
