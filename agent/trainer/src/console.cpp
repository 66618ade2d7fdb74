#include "console.h"
#include "shown_name.h"

#include <chrono>
#include <cmath>
#include <mutex>
#include <set>
#include <string>

namespace tenfold {
namespace {

std::string format(const char* pattern, auto... values) {
  char text[512];
  std::snprintf(text, sizeof(text), pattern, values...);
  return text;
}

/// "1 class", "2 classes".
std::string count_of(int64_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

/// No object was found: then no epoch is the best, and no confidence is better than another.
bool nothing_found(const MetricSummary& metrics) { return metrics.map50 == 0 && metrics.map50_95 == 0; }

/// "1:02:03" or "2:03".
std::string clock_text(double seconds) {
  const long s = std::lround(seconds);
  if (s >= 3600) return format("%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
  return format("%ld:%02ld", s / 60, s % 60);
}

std::string bar(double share) {
  constexpr int width = 12;
  const int full = static_cast<int>(share * width + 0.5);
  std::string text;
  for (int i = 0; i < width; ++i) text += i < full ? "━" : "─";
  return text;
}

/// "box 1.234  cls 0.567".
std::string losses_text(const LossItems& items) {
  std::string text;
  for (const LossItem& item : items) text += format("%s%s %.3f", text.empty() ? "" : "  ", item.name.c_str(), item.value);
  return text;
}

/// The same where that fits beside a bar, else their sum.
std::string short_losses_text(const LossItems& items) {
  if (items.size() <= 3) return losses_text(items);
  double sum = 0;
  for (const LossItem& item : items) sum += item.value;
  return format("loss %.3f", sum);
}

/// Text of exactly `columns` characters, counted as UTF-8: cut, or filled up with spaces.
std::string in_columns(const std::string& text, int columns) {
  std::string fitted;
  int used = 0;
  for (const char c : text) {
    const bool begins = (static_cast<unsigned char>(c) & 0xC0U) != 0x80;
    if (begins && used == columns) break;
    used += begins ? 1 : 0;
    fitted += c;
  }
  return fitted.append(static_cast<size_t>(columns - used), ' ');
}

/// Without a validation every epoch counts as the best: nothing was measured.
const char* verdict_of(const EpochEvent& epoch) {
  if (!epoch.best || !epoch.metrics) return "";
  return nothing_found(*epoch.metrics) ? "  nothing found yet" : "  best";
}

class ConsoleSink final : public EventSink {
 public:
  ConsoleSink(std::FILE* out, bool terminal) : out_(out), terminal_(terminal) {}

  void emit(const Event& event) override {
    const std::lock_guard lock(mutex_);
    std::visit([this](const auto& e) { show(e); }, event);
    std::fflush(out_);
  }
  void flush() override { std::fflush(out_); }

 private:
  void line(const std::string& text) {
    std::fprintf(out_, "%s%s\n", redrawn_ ? "\r\033[K" : "", text.c_str());
    redrawn_ = false;
  }
  void redraw(const std::string& text) {
    if (!terminal_) return;
    std::fprintf(out_, "\r\033[K%s", text.c_str());
    redrawn_ = true;
  }
  void complain(const std::string& text) {
    if (redrawn_) std::fprintf(out_, "\r\033[K");
    redrawn_ = false;
    std::fflush(out_);
    std::fprintf(stderr, "%s\n", text.c_str());
  }

  /// In nine columns. How many there are is known from the first step on that is told of.
  std::string epoch_of_all(int64_t epoch) const {
    return format("%4lld", static_cast<long long>(epoch)) +
           (epochs_ > 0 ? format("/%-4lld", static_cast<long long>(epochs_)) : "     ");
  }

  void show(const HelloEvent& e) {
    line(format("tenfold-trainer %s · LibTorch %s · %s · ", TENFOLD_VERSION, e.torch.c_str(), e.device.c_str()) +
         count_of(e.threads, "thread", "threads") + " · " + count_of(e.world_size, "rank", "ranks"));
  }
  void show(const JoinedEvent&) {}
  void show(const ModelEvent& e) {
    line(e.arch + " · " + count_of(e.nc, "class", "classes") +
         format(" · %.2f M parameters · %.1f GFLOPs", static_cast<double>(e.parameters) / 1e6, e.gflops));
    if (e.transferred > 0) line(count_of(e.transferred, "tensor", "tensors") + " taken from the given weights");
    line("");
    // Each epoch's line names its losses: which there are depends on the model.
    line("    epoch        P        R    mAP50  mAP50-95  images/s     time  losses");
  }
  void show(const BatchEvent& e) {
    line(format("batch %lld · ", static_cast<long long>(e.batch)) + count_of(e.device_batch, "image", "images") +
         format(" a pass, which takes %.2f GiB", static_cast<double>(e.peak_bytes) / (1 << 30)));
  }
  void show(const ResumedEvent& e) {
    line(format("resumed at step %lld, epoch %lld", static_cast<long long>(e.step),
                static_cast<long long>(e.cursor.epoch)));
  }
  void show(const ConsumedEvent&) {}
  void show(const StepEvent& e) {
    const double share = static_cast<double>(e.batch) / static_cast<double>(e.batches);
    redraw(format("%4lld/%-4lld %s %lld/%lld  %.1f images/s  ", static_cast<long long>(e.epoch),
                  static_cast<long long>(e.epochs), bar(share).c_str(), static_cast<long long>(e.batch),
                  static_cast<long long>(e.batches), e.images_per_s) +
           short_losses_text(e.loss));
    epochs_ = e.epochs;
  }
  void show(const ValEvent& e) {
    const double share = static_cast<double>(e.done) / static_cast<double>(std::max<int64_t>(e.total, 1));
    redraw(epoch_of_all(e.epoch) + format(" validating %s %lld/%lld", bar(share).c_str(), static_cast<long long>(e.done),
                                          static_cast<long long>(e.total)));
  }
  void show(const EpochEvent& e) {
    std::string text = epoch_of_all(e.epoch);
    if (e.metrics) {
      text += format(" %8.3f %8.3f %8.3f %9.3f", e.metrics->precision, e.metrics->recall, e.metrics->map50,
                     e.metrics->map50_95);
    } else {
      text += "        -        -        -         -";
    }
    line(text + format("  %8.1f %8s  ", e.images_per_s, clock_text(e.time_s).c_str()) + losses_text(e.train) +
         verdict_of(e));
  }
  void show(const EvaluationEvent& e) {
    line("");
    line(format("weights of epoch %lld, on ", static_cast<long long>(e.epoch)) + count_of(e.images, "image", "images") +
         (nothing_found(e.metrics) ? ": nothing found" : format(", at confidence %.2f", e.confidence)));
    line("    class                     images   labels        P        R    mAP50  mAP50-95");
    const auto row = [this](const ClassResult& result) {
      line(format("    %s %7lld %8lld %8.3f %8.3f %8.3f %9.3f", in_columns(in_one_line(result.name), 24).c_str(),
                  static_cast<long long>(result.images), static_cast<long long>(result.labels),
                  result.metrics.precision, result.metrics.recall, result.metrics.map50, result.metrics.map50_95));
    };
    row({"all", e.images, e.labels, e.metrics});
    for (const ClassResult& result : e.classes) row(result);
    line("");
  }
  void show(const CheckpointEvent& e) { checkpoint_ = e.dir; }
  void show(const WarningEvent& e) { complain("warning: " + e.message); }
  void show(const ArtifactEvent& e) { files_.insert(e.file.name); }
  void show(const EndEvent& e) {
    if (e.code == ExitCode::completed) {
      for (const std::string& file : files_) line("  " + file);
      line(e.message);
    } else {
      complain(std::string(name_of(e.code)) + ": " + e.message);
      if (!checkpoint_.empty()) complain("newest checkpoint, to go on from: resume=" + checkpoint_);
    }
  }

  std::FILE* out_;
  const bool terminal_;
  std::mutex mutex_;
  bool redrawn_ = false;
  int64_t epochs_ = 0;
  std::string checkpoint_;  // the one written last
  std::set<std::string> files_;  // some come early; they are listed at the end, not between the epochs
};

class QuietSink final : public EventSink {
 public:
  explicit QuietSink(int rank) : rank_(rank) {}
  void emit(const Event& event) override {
    if (const auto* warning = std::get_if<WarningEvent>(&event)) {
      std::fprintf(stderr, "rank %d: warning: %s\n", rank_, warning->message.c_str());
    } else if (const auto* end = std::get_if<EndEvent>(&event); end != nullptr && end->code != ExitCode::completed) {
      std::fprintf(stderr, "rank %d: %s: %s\n", rank_, std::string(name_of(end->code)).c_str(), end->message.c_str());
    }
  }
  void flush() override {}

 private:
  const int rank_;
};

}  // namespace

std::unique_ptr<EventSink> console_sink(std::FILE* out, bool terminal) {
  return std::make_unique<ConsoleSink>(out, terminal);
}

std::unique_ptr<EventSink> quiet_sink(int rank) { return std::make_unique<QuietSink>(rank); }

}  // namespace tenfold
