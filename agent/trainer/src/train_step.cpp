#include "train_step.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "depthwise.h"
#include "exit_code.h"

namespace tenfold {
namespace {

/// A single overflow can be an accident of one batch; this many in a row are not.
constexpr int kMaxSkippedSteps = 5;

/// Begins to find out what any rank was asked to do; the answer is there before the backward pass needs it.
std::unique_ptr<PendingReduction> begin_agreement(Training& t) {
  const Requests& asked = t.requests;
  return t.ranks->begin_max(at::tensor(
      {int{asked.checkpoint.load()}, int{asked.stop.load()}, int{asked.stop_checkpoint.load()}}, at::kInt), "requests");
}

Agreement finish_agreement(PendingReduction& pending) {
  const at::Tensor flags = pending.wait();
  const auto flag = flags.accessor<int, 1>();
  return {flag[0] != 0, flag[1] != 0, flag[1] != 0 && flag[2] != 0};
}

Cursor cursor_after(const Training& t) {
  const Cursor& now = t.progress.cursor;
  const int64_t offset = std::min(now.offset + t.args.batch, t.samples());
  return offset == t.samples() ? Cursor{now.epoch + 1, 0} : Cursor{now.epoch, offset};
}

bool checkpoint_due(const Training& t) {
  const auto& every = t.config.checkpoint.every_steps;
  return every && (t.progress.step + 1) % *every == 0;
}

/// Whether a batch of so many images has the shapes of nearly all others, and these are many. Of the arguments and the batch
/// alone: other kernels round otherwise, and a training that is resumed must go the same way.
bool pays_to_compile_for(const Training& t, int64_t images) {
  const int64_t of_this_rank = t.args.epochs * t.samples() / t.env.world_size;
  return images == t.args.batch && !t.args.rect && pays_to_compile(of_this_rank, t.args.imgsz);
}

/// How the slices of a global batch of so many images are computed: in parts where a rank's may not fit its device.
PassOptions pass_options(const Training& t, int64_t images) {
  const int64_t slice = (images + t.env.world_size - 1) / t.env.world_size;
  return {.parts = (slice + t.device_batch - 1) / t.device_batch,
          .loss_scale = t.scales_loss() ? t.progress.loss_scale.value : 1,
          .compiled = pays_to_compile_for(t, images)};
}

WarningEvent overflow_warning(const std::string& step, double scale) {
  char halved[32];
  std::snprintf(halved, sizeof(halved), "%g", scale / 2);
  return {"loss_scale", step + ": gradients overflowed float16; the step is skipped and the loss scale halved to " + halved,
          ""};
}

/// What becomes of a step whose gradient is not finite: told, and the training ends where the policy says so, or where
/// it happens again and again.
void skip_step(Training& t) {
  const std::string step = "step " + std::to_string(t.progress.step + 1);
  if (t.scales_loss() && t.progress.loss_scale.value > 1) {
    // In float16 an overflow says that the scale is too large, and nothing of the training.
    if (t.is_first_rank()) t.events.emit(overflow_warning(step, t.progress.loss_scale.value));
    return;
  }
  ++t.skipped_in_a_row;
  const bool ends = t.args.nan_policy == "end";
  if (ends || t.skipped_in_a_row >= kMaxSkippedSteps) {
    const std::string when = ends ? "in " + step : "in " + std::to_string(kMaxSkippedSteps) + " steps in a row, the last of them " + step;
    throw TrainerError(ExitCode::diverged,
                       "gradients were NaN or infinite " + when + "; try a lower train.lr0 or train.amp: off");
  }
  if (t.is_first_rank()) {
    t.events.emit(WarningEvent{"skipped_step", step + ": the gradient is NaN or infinite; weights left as they are", ""});
  }
}

/// Returns whether the step was taken: on no rank it is if the gradient is not finite, for its norm is that of the
/// averaged gradients and the same everywhere.
bool take_optimizer_step(Training& t, const StepRates& rates) {
  const double scale = t.scales_loss() ? t.progress.loss_scale.value : 1;
  const double norm = clip_gradients(t.trainable, t.args.max_grad_norm, scale);
  const bool taken = std::isfinite(norm);
  if (taken) {
    t.optimizer->step(rates);
    t.ema->update();
    t.skipped_in_a_row = 0;
  } else {
    skip_step(t);
    at::_foreach_copy_(t.statistics, t.statistics_before);
  }
  if (t.scales_loss()) t.progress.loss_scale.update(!taken);
  for (const at::Tensor& parameter : t.trainable) parameter.mutable_grad().reset();
  return taken;
}

}  // namespace

StepReport::StepReport(Training& training) : t_(training), consumed_from_(training.progress.cursor.offset) {}

void StepReport::before_exchange(const Batch& batch, const Cursor& next, bool last_of_epoch, bool saved) {
  for (const Corrupt& corrupt : batch.corrupt) {
    t_.events.emit(WarningEvent{"corrupt_image", corrupt.name + ": " + corrupt.reason + "; skipped", corrupt.name});
  }
  consumed_ids_.insert(consumed_ids_.end(), batch.ids.begin(), batch.ids.end());
  const auto interval = std::chrono::milliseconds(t_.config.progress_interval_ms);
  due_ = !told_any_ || last_of_epoch || Clock::now() - last_told_ >= interval;
  if (!due_ && !saved) return;
  const Cursor& now = t_.progress.cursor;
  const int64_t to = next.epoch == now.epoch ? next.offset : t_.samples();
  t_.events.emit(ConsumedEvent{now.epoch, consumed_from_, to, std::move(consumed_ids_)});
  consumed_ids_ = {};
  consumed_from_ = to;
  // Once the others' collective is done the checkpoint can be committed, whatever becomes of this process.
  if (saved || last_of_epoch) t_.events.flush();
}

void StepReport::after_step(const at::Tensor& loss_items, const StepRates& rates, int64_t images, double data_wait_s) {
  images_since_ += images;
  if (!due_) return;
  const auto now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - last_told_).count();
  const at::Tensor items = loss_items.to(at::kCPU, at::kDouble);
  if (!items.isfinite().all().item<bool>()) return;  // a warning has told of this step
  const Progress& progress = t_.progress;
  const bool epoch_done = progress.cursor.offset == 0;
  const int64_t offset = epoch_done ? t_.samples() : progress.cursor.offset;
  t_.events.emit(StepEvent{epoch_done ? progress.cursor.epoch - 1 : progress.cursor.epoch, t_.args.epochs,
                           (offset + t_.args.batch - 1) / t_.args.batch, t_.batches(), progress.step, offset,
                           named_items(t_.model->family(), items), rates.lr,
                           static_cast<double>(images_since_) / std::max(seconds, 1e-9), data_wait_s * 1000});
  told_any_ = true;
  last_told_ = now;
  images_since_ = 0;
}

Agreement train_step(Training& t, const Batch& batch, StepReport& report, double data_wait_s) {
  const auto agreement = begin_agreement(t);
  const Cursor next = cursor_after(t);
  const bool last_of_epoch = next.epoch != t.progress.cursor.epoch;
  const StepRates rates = rates_at(t.schedule, t.progress.step);

  Agreement agreed;
  // A batch that overflows on its way forward is in the running statistics by then, and would stay there for ever.
  at::_foreach_copy_(t.statistics_before, t.statistics);
  const int64_t images = (last_of_epoch ? t.samples() : next.offset) - t.progress.cursor.offset;
  const LossResult loss = t.gradients->run(batch, pass_options(t, images), [&] {
    agreed = finish_agreement(*agreement);
    // At the epoch's end it is taken after the validation, with its result.
    t.checkpoint_asked = agreed.checkpoint && last_of_epoch;
    agreed.checkpoint = (agreed.checkpoint || checkpoint_due(t)) && !last_of_epoch;
    report.before_exchange(batch, next, last_of_epoch, agreed.checkpoint || agreed.stop_checkpoint);
  });
  if (take_optimizer_step(t, rates)) {
    t.loss_sums += loss.items;
    ++t.loss_steps;
  }

  t.progress.epoch.images += images;
  t.progress.cursor = next;
  ++t.progress.step;
  report.after_step(loss.items, rates, static_cast<int64_t>(batch.ids.size()), data_wait_s);
  return agreed;
}

}  // namespace tenfold
