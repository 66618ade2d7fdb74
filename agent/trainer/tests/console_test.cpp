// What people see of a training.
#include "console.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "data_fixtures.h"

namespace tenfold {
namespace {

using testing::mentions;

const LossItems kLoss{{"box", 1}, {"cls", 2}, {"dfl", 3}};

/// What is written to a file for these events.
std::string shown(const std::vector<Event>& events) {
  char* text = nullptr;
  size_t size = 0;
  std::FILE* out = ::open_memstream(&text, &size);
  {
    const auto sink = console_sink(out, /*terminal=*/false);
    for (const Event& event : events) sink->emit(event);
  }
  std::fclose(out);
  const std::string written(text, size);
  std::free(text);
  return written;
}

/// What is written to stderr for these events.
std::string complained(const std::vector<Event>& events) {
  ::testing::internal::CaptureStderr();
  shown(events);
  return ::testing::internal::GetCapturedStderr();
}

EpochEvent epoch_event(std::optional<MetricSummary> metrics, bool best) {
  EpochEvent epoch;
  epoch.train = kLoss;
  epoch.metrics = metrics;
  epoch.best = best;
  return epoch;
}

TEST(Console, CountsOneAsOne) {
  EXPECT_TRUE(mentions(shown({HelloEvent{0, 1, 0, 1, "2.13.0", "cpu", 1}}), "cpu · 1 thread · 1 rank\n"));
  EXPECT_TRUE(mentions(shown({ModelEvent{"yolov8n", 1, 3'011'043, 8.2, 1}}), "yolov8n · 1 class · 3.01 M parameters"));
  EXPECT_TRUE(mentions(shown({ModelEvent{"yolov8n", 2, 3'011'043, 8.2, 1}}), "2 classes"));
  EXPECT_TRUE(mentions(shown({BatchEvent{1, 1, 1 << 30}}), "1 image a pass, which takes 1.00 GiB"));
  EXPECT_TRUE(mentions(shown({EvaluationEvent{3, 1, 4, 0.41, {0.8, 0.7, 0.81, 0.55}, {}}}),
                       "weights of epoch 3, on 1 image, at confidence 0.41\n"));
}

TEST(Console, CallsAnEpochTheBestOnlyWhereSomethingWasFound) {
  EXPECT_TRUE(mentions(shown({epoch_event(MetricSummary{0.8, 0.7, 0.81, 0.55}, true)}), "dfl 3.000  best\n"));
  EXPECT_TRUE(mentions(shown({epoch_event(MetricSummary{0.8, 0.7, 0.81, 0.55}, false)}), "dfl 3.000\n"));
  EXPECT_TRUE(mentions(shown({epoch_event(MetricSummary{}, true)}), "dfl 3.000  nothing found yet\n"));
  EXPECT_TRUE(mentions(shown({epoch_event(std::nullopt, true)}), "dfl 3.000\n")) << "without a validation";
  const std::string evaluation = shown({EvaluationEvent{3, 200, 431, 0, {}, {}}});
  EXPECT_TRUE(mentions(evaluation, "weights of epoch 3, on 200 images: nothing found\n")) << evaluation;
}

TEST(Console, CountsEpochsOfAllOnceItKnowsHowMany) {
  const EpochEvent epoch = epoch_event(MetricSummary{0.8, 0.7, 0.81, 0.55}, true);
  EXPECT_TRUE(mentions(shown({epoch}), "   1         0.800")) << "no step was told of";
  StepEvent step;
  step.epochs = 30, step.batches = 1;
  EXPECT_TRUE(mentions(shown({step, epoch}), "   1/30      0.800"));
}

TEST(Console, NamesTheCheckpointToGoOnFrom) {
  const CheckpointEvent first{40, {1, 160}, "runs/first/checkpoints/step-00000040", {}, {}, {}, {}},
      second{42, {1, 168}, "runs/first/checkpoints/step-00000042", {}, {}, {}, {}};
  const EndEvent stopped{ExitCode::stopped, "stopped after step 42, with a checkpoint; resume to go on"};
  EXPECT_EQ(complained({first, second, stopped}),
            "stopped: stopped after step 42, with a checkpoint; resume to go on\n"
            "newest checkpoint, to go on from: resume=runs/first/checkpoints/step-00000042\n");
  EXPECT_FALSE(mentions(complained({stopped}), "newest checkpoint"));
  EXPECT_EQ(complained({first, EndEvent{ExitCode::completed, "100 epochs"}}), "");
}

}  // namespace
}  // namespace tenfold
