// Which anchors learn which ground-truth box (task-aligned assignment).
#pragma once

#include <ATen/core/Tensor.h>

#include "anchor_grid.h"

namespace tenfold {

struct AssignerOptions {
  int topk = 10;       ///< anchors that a box may claim
  double alpha = 0.5;  ///< exponent of the class score in the alignment metric
  double beta = 6.0;   ///< exponent of the overlap
};

/// Ground truth of a batch: T boxes.
struct Truth {
  at::Tensor image;  ///< (T) int64: which image of the batch
  at::Tensor cls;    ///< (T) int64
  at::Tensor boxes;  ///< (T, 4) x1, y1, x2, y2 in pixels
};

/// N anchors with a box to learn; every other anchor is background.
struct Assignment {
  at::Tensor anchor;  ///< (N) int64: image * A + anchor; no anchor twice
  at::Tensor truth;   ///< (N) int64: row of Truth
  at::Tensor score;   ///< (N) the class score that it should reach, 0..1
};

/// The pairs of a box and an anchor that can match: P of them, in order of the box, and by level, row, column.
struct Candidates {
  at::Tensor truth;   ///< (P) int64: row of Truth
  at::Tensor anchor;  ///< (P) int64: image * A + anchor
  at::Tensor logit;   ///< (P) int64: which of a batch's class logits is the anchor's for the box's class
  at::Tensor box;     ///< (P, 4) the box
  at::Tensor inside;  ///< (P) bool: the anchor's centre lies in the box
  at::Tensor place;   ///< (P) int64: number of the pair among its box's
};

/// Of boxes on a grid, for a model of `classes` classes. Depends on no prediction.
Candidates list_candidates(const AnchorGrid& grid, const Truth& truth, int64_t classes);

/// Task-aligned assignment (Feng et al., "TOOD", ICCV 2021, section 3.2). The alignment of a box and an anchor whose
/// centre lies in it is t = score^alpha · overlap^beta, overlap being the predicted box's CIoU, not below 0. A box
/// claims its `topk` anchors of largest t > 0; an anchor that several boxes claim goes to the box, of all that contain
/// it, which it overlaps most. Scores are t scaled so that each box's largest is its largest overlap.
/// `logits` (B, A, nc) class logits, `boxes` (B, A, 4) predicted x1, y1, x2, y2 in pixels; no gradient flows.
Assignment assign_task_aligned(const Candidates& candidates, const at::Tensor& logits, const at::Tensor& boxes,
                               const Truth& truth, const AssignerOptions& options = {});

}  // namespace tenfold
