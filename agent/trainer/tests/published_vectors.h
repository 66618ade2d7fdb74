// A folder of numbers of the published implementations, and how near ours come to them.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace tenfold::testing {

using Tensors = std::map<std::string, at::Tensor>;

/// TENFOLD_VECTORS, else ../shared/reference/vectors beside the checkout. It need not exist.
std::filesystem::path vectors_folder();

/// What a manifest's vectors are of.
enum class Kind { model, postprocessing, unknown };

/// Paths of the manifests of one kind, sorted.
std::vector<std::filesystem::path> manifests(Kind kind);

/// A manifest's path as the name of a test.
std::string case_name(const ::testing::TestParamInfo<std::filesystem::path>& info);

struct Vectors {
  nlohmann::json manifest;
  Tensors weights, tensors;
};

/// The vectors of a manifest, on a device.
Vectors load(const std::filesystem::path& manifest, const at::Device& device = at::kCPU);

/// Compares, and remembers how near to the limit each kind of comparison came.
class Comparison {
 public:
  explicit Comparison(std::string name) : name_(std::move(name)) {}
  ~Comparison() {
    for (const auto& [kind, worst] : worst_)
      std::printf("parity %-28s %-22s %5ld compared, worst at %5.1f%% of %s%s%s\n", name_.c_str(), kind.c_str(), worst.count,
                  100 * worst.share, worst.limit.c_str(), worst.where.empty() ? "" : ": ", worst.where.c_str());
  }
  Comparison(const Comparison&) = delete;
  Comparison& operator=(const Comparison&) = delete;

  /// Every value within `tolerance` of the reference, absolute and relative.
  void tensors(const std::string& kind, const std::string& where, const at::Tensor& ours, const at::Tensor& theirs,
               double tolerance) {
    if (ours.sizes() != theirs.sizes()) {
      ADD_FAILURE() << where << ": shape " << ours.sizes() << ", not " << theirs.sizes();
      return;
    }
    const auto a = ours.detach().to(at::kDouble), b = theirs.to(at::kDouble);
    const double share =
        a.numel() == 0 ? 0 : ((a - b).abs() / (tolerance + tolerance * b.abs())).max().item<double>();
    note(kind, where, share, limit_text(tolerance));
  }

  void number(const std::string& kind, const std::string& where, double ours, double theirs, double tolerance,
              double floor = 0) {
    note(kind, where, std::abs(ours - theirs) / (tolerance * std::abs(theirs) + floor + 1e-300),
         limit_text(tolerance > 0 ? tolerance : floor));
  }

 private:
  struct Worst {
    double share = -1;
    long count = 0;
    std::string limit, where;
  };

  static std::string limit_text(double tolerance) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.0e", tolerance);
    return text;
  }

  void note(const std::string& kind, const std::string& where, double share, const std::string& limit) {
    EXPECT_LE(share, 1.0) << kind << " " << where << ": off by " << share << " times what is allowed (" << limit << ")";
    Worst& worst = worst_[kind];
    ++worst.count;
    if (share > worst.share || std::isnan(share)) worst = {share, worst.count, limit, where};
  }

  std::string name_;
  std::map<std::string, Worst> worst_;
};

}  // namespace tenfold::testing
