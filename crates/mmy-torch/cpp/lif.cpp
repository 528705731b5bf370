// Leaky integrate-and-fire neurons: checks, threads, and the choice of an instruction set.

#include "lif.h"
#include "edge.h"
#include "isa.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/GradMode.h>

#include <algorithm>

namespace {

const mmy::LifKernels& kernels(int limit) {
#if defined(__x86_64__)
  switch (mmy::instruction_set(limit)) {
    case 2:
      return mmy::lif_avx512;
    case 1:
      return mmy::lif_avx2;
  }
#endif
  return mmy::lif_baseline;
}

void check(const at::Tensor& x, int64_t steps) {
  TORCH_CHECK(
      x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16),
      "currents of ", x.scalar_type());
  TORCH_CHECK(x.is_contiguous(x.suggest_memory_format()), "currents that are not dense");
  TORCH_CHECK(
      steps >= 1 && steps <= mmy::most_lif_steps && x.dim() > 0 && x.size(0) % steps == 0,
      steps, " steps of ", x.sizes());
}

// A thread's share, at least: what a core passes through in some ten microseconds.
int64_t grain(int64_t steps) {
  return std::max<int64_t>(1, (1 << 14) / steps);
}

} // namespace

extern "C" {

char* mmy_lif_forward(
    const at::Tensor* x, int64_t steps, float threshold, float decay, float width, int limit, at::Tensor** spikes) {
  return mmy::guarded([&] {
    c10::NoGradGuard no_grad;
    check(*x, steps);
    auto result = at::empty_like(*x, x->suggest_memory_format());
    const auto& all = kernels(limit);
    const auto run = x->scalar_type() == at::kFloat ? all.forward_float32 : all.forward_bfloat16;
    const auto from = x->const_data_ptr();
    const auto to = result.mutable_data_ptr();
    const int64_t neurons = x->numel() / steps;
    at::parallel_for(0, neurons, grain(steps), [&](int64_t begin, int64_t end) {
      run(from, to, {threshold, decay, width}, steps, neurons, begin, end);
    });
    *spikes = new at::Tensor(std::move(result));
  });
}

char* mmy_lif_backward(
    const at::Tensor* x,
    const at::Tensor* grad,
    int64_t steps,
    float threshold,
    float decay,
    float width,
    int limit,
    at::Tensor** grad_x) {
  return mmy::guarded([&] {
    c10::NoGradGuard no_grad;
    check(*x, steps);
    check(*grad, steps);
    TORCH_CHECK(
        x->sizes() == grad->sizes() && x->strides() == grad->strides() && x->scalar_type() == grad->scalar_type(),
        "a gradient that lies otherwise than its currents");
    auto result = at::empty_like(*x, x->suggest_memory_format());
    const auto& all = kernels(limit);
    const auto run = x->scalar_type() == at::kFloat ? all.backward_float32 : all.backward_bfloat16;
    const auto from = x->const_data_ptr();
    const auto g = grad->const_data_ptr();
    const auto to = result.mutable_data_ptr();
    const int64_t neurons = x->numel() / steps;
    at::parallel_for(0, neurons, grain(steps), [&](int64_t begin, int64_t end) {
      run(from, g, to, {threshold, decay, width}, steps, neurons, begin, end);
    });
    *grad_x = new at::Tensor(std::move(result));
  });
}

} // extern "C"
