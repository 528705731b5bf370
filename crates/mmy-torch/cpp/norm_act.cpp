// Batch normalisation by a batch's own statistics with its activation: checks, threads, statistics of the whole.

#include "norm_act.h"
#include "edge.h"
#include "isa.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

namespace {

const mmy::NormKernels& kernels(int limit) {
#if defined(__x86_64__)
  switch (mmy::instruction_set(limit)) {
    case 2:
      return mmy::norm_act_avx512;
    case 1:
      return mmy::norm_act_avx2;
  }
#endif
  return mmy::norm_act_baseline;
}

void check_pixels(const at::Tensor& x) {
  TORCH_CHECK(
      x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) && x.dim() == 4 &&
          x.is_contiguous(at::MemoryFormat::ChannelsLast) && x.numel() > 0,
      "a tensor of ", x.scalar_type(), " and ", x.sizes(), " that has no pixels channels-last");
}

const float* channel_values(const at::Tensor& values, int64_t channels) {
  TORCH_CHECK(
      values.device().is_cpu() && values.scalar_type() == at::kFloat && values.is_contiguous() &&
          values.numel() == channels,
      "a tensor of ", values.scalar_type(), " and ", values.sizes(), " for ", channels, " channels");
  return values.const_data_ptr<float>();
}

// Blocks of rows, cut by the shape alone.
struct Blocks {
  int64_t rows, channels, height, count;

  explicit Blocks(const at::Tensor& x)
      : rows(x.numel() / x.size(1)),
        channels(x.size(1)),
        height(std::max<int64_t>(16, (1 << 14) / channels)),
        count((rows + height - 1) / height) {}

  // Calls `body(block, first row, rows)`.
  template <class Body>
  void each(const Body& body) const {
    at::parallel_for(0, count, 2, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; block++) {
        const int64_t first = block * height;
        body(block, first, std::min(height, rows - first));
      }
    });
  }

  // Adds up two lists of values per channel for each block, in order.
  void total(const float* parts, double* first, double* second) const {
    std::fill_n(first, channels, 0.0);
    std::fill_n(second, channels, 0.0);
    for (int64_t block = 0; block < count; block++) {
      const float* part = parts + block * 2 * channels;
      for (int64_t c = 0; c < channels; c++) {
        first[c] += part[c];
        second[c] += part[channels + c];
      }
    }
  }
};

// From one pixel's channels to the next one's, in numbers; 0 if pixels do not follow each other evenly. A part of the
// channels of a channels-last tensor, which is what the gradient of a concatenation is, has such a step.
int64_t pixel_stride(const at::Tensor& x) {
  const int64_t step = x.size(3) > 1 ? x.stride(3) : x.size(2) > 1 ? x.stride(2) : x.size(0) > 1 ? x.stride(0) : x.size(1);
  const bool even = (x.size(1) == 1 || x.stride(1) == 1) && (x.size(2) == 1 || x.stride(2) == step * x.size(3)) &&
      (x.size(0) == 1 || x.stride(0) == step * x.size(2) * x.size(3));
  return even && step >= x.size(1) ? step : 0;
}

constexpr int activations = 4;

} // namespace

extern "C" {

// `y` = act((x - mean) / sqrt(var + eps) * weight + bias) with mean and variance of the batch. `x` is N×C×H×W,
// channels-last, float or bfloat16; everything per channel is float. `statistics` becomes 3×C: mean, 1 / sqrt(var + eps)
// and the product of that and the weight. The running values, where given, take the batch in.
char* mmy_norm_act_forward(
    const at::Tensor* x,
    const at::Tensor* weight,
    const at::Tensor* bias,
    at::Tensor* running_mean,
    at::Tensor* running_var,
    double momentum,
    double eps,
    int activation,
    int limit,
    at::Tensor** y,
    at::Tensor** statistics) {
  return mmy::guarded([&] {
    c10::NoGradGuard no_grad;
    check_pixels(*x);
    TORCH_CHECK(activation >= 0 && activation < activations, "no such activation");
    const Blocks blocks(*x);
    const int64_t channels = blocks.channels;
    const float *w = channel_values(*weight, channels), *b = channel_values(*bias, channels);
    const auto& all = kernels(limit);
    const int type = x->scalar_type() == at::kFloat ? 0 : 1;
    const int64_t row_bytes = x->element_size() * channels;
    const auto* from = static_cast<const char*>(x->const_data_ptr());

    auto stats = at::empty({3, channels}, x->options().dtype(at::kFloat));
    float* mean = stats.mutable_data_ptr<float>();
    float *deviation = mean + channels, *scale = mean + 2 * channels;
    std::vector<float> shift(channels);
    // Sums are of the distance from the first pixel, which loses nothing where the mean is far from zero.
    for (int64_t c = 0; c < channels; c++) {
      shift[c] = type == 0 ? reinterpret_cast<const float*>(from)[c]
                           : static_cast<float>(reinterpret_cast<const at::BFloat16*>(from)[c]);
    }
    auto parts = at::empty({blocks.count, 2, channels}, stats.options());
    float* part = parts.mutable_data_ptr<float>();
    blocks.each([&](int64_t block, int64_t first, int64_t rows) {
      float* sum = part + block * 2 * channels;
      all.sums[type](from + first * row_bytes, rows, channels, shift.data(), sum, sum + channels);
    });
    std::vector<double> sum(channels), squares(channels);
    blocks.total(part, sum.data(), squares.data());

    float* running[2] = {nullptr, nullptr};
    if (running_mean) {
      channel_values(*running_mean, channels);
      running[0] = running_mean->mutable_data_ptr<float>();
    }
    if (running_var) {
      channel_values(*running_var, channels);
      running[1] = running_var->mutable_data_ptr<float>();
    }
    const double n = static_cast<double>(blocks.rows);
    for (int64_t c = 0; c < channels; c++) {
      const double distance = sum[c] / n, average = shift[c] + distance;
      const double variance = std::max(0.0, squares[c] / n - distance * distance);
      const double inverse = 1.0 / std::sqrt(variance + eps);
      mean[c] = static_cast<float>(average);
      deviation[c] = static_cast<float>(inverse);
      scale[c] = static_cast<float>(inverse * w[c]);
      if (running[0]) {
        running[0][c] = static_cast<float>(running[0][c] + momentum * (average - running[0][c]));
      }
      if (running[1]) {
        const double unbiased = variance * (n / (n - 1.0));
        running[1][c] = static_cast<float>(running[1][c] + momentum * (unbiased - running[1][c]));
      }
    }

    auto result = at::empty_like(*x, at::MemoryFormat::ChannelsLast);
    auto* to = static_cast<char*>(result.mutable_data_ptr());
    blocks.each([&](int64_t, int64_t first, int64_t rows) {
      const int64_t at = first * row_bytes;
      all.apply[activation][type](from + at, rows, channels, mean, scale, b, to + at);
    });
    *y = new at::Tensor(std::move(result));
    *statistics = new at::Tensor(std::move(stats));
  });
}

// The gradients of x, weight and bias from that of y.
char* mmy_norm_act_backward(
    const at::Tensor* x,
    const at::Tensor* bias,
    const at::Tensor* statistics,
    const at::Tensor* grad,
    int activation,
    int limit,
    at::Tensor** grad_x,
    at::Tensor** grad_weight,
    at::Tensor** grad_bias) {
  return mmy::guarded([&] {
    c10::NoGradGuard no_grad;
    check_pixels(*x);
    const auto layout = at::MemoryFormat::ChannelsLast;
    const at::Tensor slopes = grad->dim() == 4 && pixel_stride(*grad) > 0 ? *grad : grad->contiguous(layout);
    TORCH_CHECK(
        slopes.device().is_cpu() && x->sizes() == slopes.sizes() && x->scalar_type() == slopes.scalar_type(),
        "a gradient of ", slopes.sizes(), " and ", slopes.scalar_type(), " for ", x->sizes());
    TORCH_CHECK(activation >= 0 && activation < activations, "no such activation");
    const Blocks blocks(*x);
    const int64_t channels = blocks.channels;
    const float* mean = channel_values(*statistics, 3 * channels);
    const float *deviation = mean + channels, *scale = mean + 2 * channels, *b = channel_values(*bias, channels);
    const auto& all = kernels(limit);
    const int type = x->scalar_type() == at::kFloat ? 0 : 1;
    const int64_t row_bytes = x->element_size() * channels;
    const auto *from = static_cast<const char*>(x->const_data_ptr()),
               *back = static_cast<const char*>(slopes.const_data_ptr());
    const int64_t stride = pixel_stride(slopes);

    auto result = at::empty_like(*x, layout);
    auto* to = static_cast<char*>(result.mutable_data_ptr());
    auto parts = at::empty({blocks.count, 2, channels}, statistics->options());
    float* part = parts.mutable_data_ptr<float>();
    blocks.each([&](int64_t block, int64_t first, int64_t rows) {
      const int64_t at = first * row_bytes;
      float* sum = part + block * 2 * channels;
      all.slopes[activation][type](
          from + at, back + first * stride * x->element_size(), stride, rows, channels, mean, scale, b, to + at,
          sum, sum + channels);
    });
    std::vector<double> sum(channels), product(channels);
    blocks.total(part, sum.data(), product.data());

    auto for_weight = at::empty({channels}, statistics->options()), for_bias = at::empty({channels}, statistics->options());
    float *to_weight = for_weight.mutable_data_ptr<float>(), *to_bias = for_bias.mutable_data_ptr<float>();
    const double n = static_cast<double>(blocks.rows);
    std::vector<float> average(channels), slope(channels);
    for (int64_t c = 0; c < channels; c++) {
      const double inverse = deviation[c];
      to_weight[c] = static_cast<float>(product[c] * inverse);
      to_bias[c] = static_cast<float>(sum[c]);
      average[c] = static_cast<float>(sum[c] / n);
      slope[c] = static_cast<float>(product[c] / n * inverse * inverse);
    }
    blocks.each([&](int64_t, int64_t first, int64_t rows) {
      const int64_t at = first * row_bytes;
      all.centre[type](from + at, rows, channels, mean, scale, average.data(), slope.data(), to + at);
    });
    *grad_x = new at::Tensor(std::move(result));
    *grad_weight = new at::Tensor(std::move(for_weight));
    *grad_bias = new at::Tensor(std::move(for_bias));
  });
}

} // extern "C"
