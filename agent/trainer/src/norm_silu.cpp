#include "norm_silu.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "norm_silu_rows.h"

namespace tenfold {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// A tile has at least so many elements.
constexpr int64_t kTile = 512;
/// The rows are shared out in so many parts, whatever the number of threads: sums have the same bits with any.
constexpr int64_t kParts = 16;
constexpr int64_t kSmallestPart = 16'384;  // elements

/// A map in channels last as rows of channels, and how its work is shared out.
struct Rows {
  explicit Rows(const at::Tensor& x)
      : channels(x.size(1)), rows(x.numel() / channels), tile(std::max<int64_t>(1, kTile / channels) * channels) {
    const int64_t parts = std::clamp<int64_t>(x.numel() / kSmallestPart, 1, kParts);
    rows_of_part = (rows + parts - 1) / parts;
    count = (rows + rows_of_part - 1) / rows_of_part;
  }

  int64_t channels, rows, tile;
  int64_t rows_of_part = 0, count = 0;

  /// work(part, first element, elements) for every part, on all threads.
  void for_parts(const std::function<void(int64_t, int64_t, int64_t)>& work) const {
    at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        const int64_t first = part * rows_of_part;
        work(part, first * channels, std::min(rows_of_part, rows - first) * channels);
      }
    });
  }
};

/// By channel, as long as a tile.
class Tiled {
 public:
  Tiled(const Rows& rows, const std::function<float(int64_t)>& of_channel) : values_(static_cast<size_t>(rows.tile)) {
    for (int64_t c = 0; c < rows.channels; ++c) values_[static_cast<size_t>(c)] = of_channel(c);
    for (size_t i = static_cast<size_t>(rows.channels); i < values_.size(); ++i)
      values_[i] = values_[i - static_cast<size_t>(rows.channels)];
  }
  const float* data() const { return values_.data(); }

 private:
  std::vector<float> values_;
};

/// Two sums by channel, which the parts add up on their own.
class Sums {
 public:
  explicit Sums(const Rows& rows) : rows_(rows), parts_(static_cast<size_t>(rows.count)) {}

  template <typename Add>
  void add(Add&& add_part) {
    rows_.for_parts([&](int64_t part, int64_t first, int64_t elements) {
      Part& own = parts_[static_cast<size_t>(part)];
      const auto tile = static_cast<size_t>(rows_.tile);
      own.first.assign(tile, 0), own.second.assign(tile, 0);
      std::vector<float> scratch(2 * tile);
      add_part(first, elements, own.first.data(), own.second.data(), scratch.data());
    });
  }
  double first(int64_t channel) const { return total(channel, &Part::first); }
  double second(int64_t channel) const { return total(channel, &Part::second); }

 private:
  struct Part {
    std::vector<double> first, second;
  };
  double total(int64_t channel, std::vector<double> Part::*which) const {
    double sum = 0;
    for (const Part& part : parts_) {
      for (int64_t i = channel; i < rows_.tile; i += rows_.channels) sum += (part.*which)[static_cast<size_t>(i)];
    }
    return sum;
  }

  const Rows& rows_;
  std::vector<Part> parts_;
};

/// What a map's elements are to the row functions.
template <typename Work>
void with_elements(const at::Tensor& like, Work&& work) {
  like.scalar_type() == at::kBFloat16 ? work(uint16_t{}) : work(float{});
}

template <typename T>
T* elements(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

struct Statistics {
  at::Tensor mean, variance;  // (C) double
};

/// Around the first row's values: a mean far from zero cancels nothing.
Statistics statistics_of(const at::Tensor& x, const Rows& rows) {
  Statistics result{at::empty({rows.channels}, at::kDouble), at::empty({rows.channels}, at::kDouble)};
  with_elements(x, [&](auto element) {
    using T = decltype(element);
    const T* data = elements<T>(x);
    const at::Tensor first = x.permute({0, 2, 3, 1}).reshape({-1, rows.channels})[0].to(at::kFloat).contiguous();
    const float* origin = first.const_data_ptr<float>();
    const Tiled shift(rows, [&](int64_t c) { return origin[c]; });
    Sums sums(rows);
    sums.add([&](int64_t at, int64_t count, double* sum, double* square, float* scratch) {
      add_moments(PixelSpan<const T>{data + at, count, rows.tile}, shift.data(), sum, square, scratch);
    });
    const auto n = static_cast<double>(rows.rows);
    for (int64_t c = 0; c < rows.channels; ++c) {
      const double distance = sums.first(c) / n;
      result.mean.data_ptr<double>()[c] = static_cast<double>(origin[c]) + distance;
      result.variance.data_ptr<double>()[c] = std::max(0.0, sums.second(c) / n - distance * distance);
    }
  });
  return result;
}

void learn(const NormState& norm, const Statistics& own, int64_t count) {
  const double unbiased = static_cast<double>(count) / static_cast<double>(count - 1);
  norm.running_mean.lerp_(own.mean.to(norm.running_mean.scalar_type()), norm.momentum);
  norm.running_var.lerp_((own.variance * unbiased).to(norm.running_var.scalar_type()), norm.momentum);
}

/// The norm is an affine map of each channel: y = x scale + offset.
struct Affine {
  Tiled scale, offset;
  Affine(const Rows& rows, const at::Tensor& mean, const at::Tensor& inverse_std, const at::Tensor& weight,
         const at::Tensor& bias)
      : scale(rows, [&](int64_t c) { return static_cast<float>(gain(weight, inverse_std, c)); }),
        offset(rows, [&](int64_t c) {
          return static_cast<float>(static_cast<double>(bias.const_data_ptr<float>()[c]) -
                                    mean.const_data_ptr<double>()[c] * gain(weight, inverse_std, c));
        }) {}

  static double gain(const at::Tensor& weight, const at::Tensor& inverse_std, int64_t c) {
    return static_cast<double>(weight.const_data_ptr<float>()[c]) * inverse_std.const_data_ptr<double>()[c];
  }
};

/// With r = 1 / sqrt(v + eps), y = w (x - m) r + b, dy = dz silu'(y) and means over the channel's values:
///   dx = w r (dy - mean(dy) - (x - m) r² mean(dy (x - m)))          (Ioffe and Szegedy, 2015)
struct NormSilu : torch::autograd::Function<NormSilu> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            const NormState& norm) {
    const Rows rows(x);
    const Statistics own = statistics_of(x, rows);
    learn(norm, own, rows.rows);
    const at::Tensor inverse_std = (own.variance + norm.eps).rsqrt();
    ctx->save_for_backward({x, weight, bias, own.mean, inverse_std});
    const Affine affine(rows, own.mean, inverse_std, weight, bias);
    at::Tensor out = at::empty_like(x);
    with_elements(x, [&](auto element) {
      using T = decltype(element);
      const T* from = elements<T>(x);
      T* to = elements<T>(out);
      rows.for_parts([&](int64_t, int64_t at, int64_t count) {
        scale_and_silu(PixelSpan<const T>{from + at, count, rows.tile}, affine.scale.data(), affine.offset.data(), to + at);
      });
    });
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &mean = saved[3], &inverse_std = saved[4];
    const at::Tensor dout = gradients[0].to(x.scalar_type()).contiguous(at::MemoryFormat::ChannelsLast);
    const Rows rows(x);
    const Affine affine(rows, mean, inverse_std, weight, bias);
    const auto n = static_cast<double>(rows.rows);
    const auto of = [](const at::Tensor& values, int64_t c) { return values.const_data_ptr<double>()[c]; };
    at::Tensor dx = at::empty_like(x), dweight = at::empty_like(weight), dbias = at::empty_like(bias);
    with_elements(x, [&](auto element) {
      using T = decltype(element);
      const T *map = elements<T>(x), *from = elements<T>(dout);
      T* to = elements<T>(dx);
      const Tiled centre(rows, [&](int64_t c) { return static_cast<float>(of(mean, c)); });
      Sums sums(rows);  // Σ dy and Σ dy (x - m)
      sums.add([&](int64_t at, int64_t count, double* sum, double* product, float* scratch) {
        silu_backward(PixelSpan<const T>{map + at, count, rows.tile}, from + at, affine.scale.data(), affine.offset.data(),
                      centre.data(), to + at, sum, product, scratch);
      });
      const auto slope_of = [&](int64_t c) {
        return -Affine::gain(weight, inverse_std, c) * of(inverse_std, c) * of(inverse_std, c) * sums.second(c) / n;
      };
      const Tiled slope(rows, [&](int64_t c) { return static_cast<float>(slope_of(c)); });
      const Tiled level(rows, [&](int64_t c) {
        return static_cast<float>(-Affine::gain(weight, inverse_std, c) * sums.first(c) / n - of(mean, c) * slope_of(c));
      });
      for (int64_t c = 0; c < rows.channels; ++c) {
        dweight.data_ptr<float>()[c] = static_cast<float>(sums.second(c) * of(inverse_std, c));
        dbias.data_ptr<float>()[c] = static_cast<float>(sums.first(c));
      }
      rows.for_parts([&](int64_t, int64_t at, int64_t count) {
        norm_backward(PixelSpan<const T>{map + at, count, rows.tile}, affine.scale.data(), slope.data(), level.data(), to + at);
      });
    });
    return {dx, dweight, dbias, {}};
  }
};

}  // namespace

bool norm_silu_takes(const at::Tensor& x, const NormState& norm) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         norm.weight.scalar_type() == at::kFloat && x.is_contiguous(at::MemoryFormat::ChannelsLast) &&
         !x.is_contiguous() && x.numel() > x.size(1);
}

at::Tensor norm_silu(const at::Tensor& x, const NormState& norm) { return NormSilu::apply(x, norm.weight, norm.bias, norm); }

}  // namespace tenfold
