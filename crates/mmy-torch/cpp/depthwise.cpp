// Gradients of a depthwise convolution's weight and bias: checks, threads, and the choice of an instruction set.

#include "depthwise.h"
#include "edge.h"
#include "isa.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>

namespace {

const mmy::DepthwiseKernels& kernels(int limit) {
#if defined(__x86_64__)
  switch (mmy::instruction_set(limit)) {
    case 2:
      return mmy::depthwise_avx512;
    case 1:
      return mmy::depthwise_avx2;
  }
#endif
  return mmy::depthwise_baseline;
}

} // namespace

extern "C" {

// `weight_grad` becomes C×1×K×K and `bias_grad` C, in float. `input` and `grad` are N×C×H×W, channels-last, both float or
// both bfloat16. The sums are those of each picture, added in order, whatever the number of threads.
char* mmy_depthwise_grads(
    const at::Tensor* input,
    const at::Tensor* grad,
    int64_t kernel,
    int64_t padding,
    int limit,
    at::Tensor** weight_grad,
    at::Tensor** bias_grad) {
  return mmy::guarded([&] {
    c10::NoGradGuard no_grad;
    const at::Tensor &x = *input, &g = *grad;
    TORCH_CHECK(kernel == 3 || kernel == 5 || kernel == 7, "a kernel of size ", kernel);
    TORCH_CHECK(padding >= 0, "a padding of ", padding);
    TORCH_CHECK(
        x.device().is_cpu() && g.device().is_cpu() && x.scalar_type() == g.scalar_type() &&
            (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16),
        "input and gradient are ", x.scalar_type(), " and ", g.scalar_type());
    TORCH_CHECK(
        x.dim() == 4 && g.dim() == 4 && x.is_contiguous(at::MemoryFormat::ChannelsLast) &&
            g.is_contiguous(at::MemoryFormat::ChannelsLast),
        "input and gradient are not channels-last");
    TORCH_CHECK(
        g.size(0) == x.size(0) && g.size(1) == x.size(1) &&
            g.size(2) == x.size(2) + 2 * padding - kernel + 1 &&
            g.size(3) == x.size(3) + 2 * padding - kernel + 1,
        "a gradient of ", g.sizes(), " for an input of ", x.sizes());
    const int64_t pictures = x.size(0), channels = x.size(1), taps = kernel * kernel;
    const mmy::Depthwise shape{
        channels, x.size(2), x.size(3), g.size(2), g.size(3), kernel, padding};
    const auto& all = kernels(limit);
    const auto run = x.scalar_type() == at::kFloat ? all.float32 : all.bfloat16;
    const int64_t width = all.width, blocks = (channels + width - 1) / width;

    auto sums = at::empty({pictures, taps + 1, channels}, x.options().dtype(at::kFloat));
    auto zeros = at::zeros({x.size(3), channels}, x.options());
    const auto* inputs = static_cast<const char*>(x.const_data_ptr());
    const auto* grads = static_cast<const char*>(g.const_data_ptr());
    const int64_t input_bytes = x.element_size() * channels * x.size(2) * x.size(3);
    const int64_t grad_bytes = g.element_size() * channels * g.size(2) * g.size(3);
    float* partial = sums.mutable_data_ptr<float>();
    at::parallel_for(0, pictures * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t n = i / blocks, first = i % blocks * width;
        const int64_t last = std::min(first + width, channels);
        float* weight = partial + n * (taps + 1) * channels;
        run(shape, inputs + n * input_bytes, grads + n * grad_bytes, zeros.const_data_ptr(), first, last, weight,
            weight + taps * channels);
      }
    });

    auto weight = at::zeros({taps + 1, channels}, sums.options());
    float* total = weight.mutable_data_ptr<float>();
    for (int64_t n = 0; n < pictures; n++) {
      const float* one = partial + n * (taps + 1) * channels;
      for (int64_t i = 0; i < (taps + 1) * channels; i++) {
        total[i] += one[i];
      }
    }
    auto bias = weight.select(0, taps).clone();
    *weight_grad = new at::Tensor(
        weight.slice(0, 0, taps).t().contiguous().view({channels, 1, kernel, kernel}));
    *bias_grad = new at::Tensor(std::move(bias));
  });
}

} // extern "C"
