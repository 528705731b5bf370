// The star operation: checks, threads, and the choice of an instruction set.

#include "star.h"
#include "edge.h"
#include "isa.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/GradMode.h>

namespace {

const mmy::StarKernels& kernels(int limit) {
#if defined(__x86_64__)
  switch (mmy::instruction_set(limit)) {
    case 2:
      return mmy::star_avx512;
    case 1:
      return mmy::star_avx2;
  }
#endif
  return mmy::star_baseline;
}

void check_alike(const at::Tensor& a, const at::Tensor& b) {
  TORCH_CHECK(
      a.device().is_cpu() && b.device().is_cpu() && a.scalar_type() == b.scalar_type() &&
          (a.scalar_type() == at::kFloat || a.scalar_type() == at::kBFloat16),
      "tensors of ", a.scalar_type(), " and ", b.scalar_type());
  TORCH_CHECK(a.sizes() == b.sizes(), "tensors of ", a.sizes(), " and ", b.sizes());
  auto format = a.suggest_memory_format();
  TORCH_CHECK(
      a.is_contiguous(format) && b.is_contiguous(format), "tensors of different memory formats");
}

// A thread's share, at least: what a core passes through in some ten microseconds.
constexpr int64_t grain = 1 << 15;

} // namespace

extern "C" {

// Both are float or bfloat16, dense, and laid out alike.
char* mmy_star_forward(const at::Tensor* a, const at::Tensor* b, int limit, at::Tensor** y) {
  return mmy::guarded([&] {
    c10::NoGradGuard no_grad;
    check_alike(*a, *b);
    auto result = at::empty_like(*a, a->suggest_memory_format());
    const auto& all = kernels(limit);
    const auto run = a->scalar_type() == at::kFloat ? all.forward_float32 : all.forward_bfloat16;
    const int64_t bytes = a->element_size();
    auto from = static_cast<const char*>(a->const_data_ptr()), by = static_cast<const char*>(b->const_data_ptr());
    auto to = static_cast<char*>(result.mutable_data_ptr());
    at::parallel_for(0, a->numel(), grain, [&](int64_t begin, int64_t end) {
      const int64_t at = begin * bytes;
      run(from + at, by + at, to + at, end - begin);
    });
    *y = new at::Tensor(std::move(result));
  });
}

char* mmy_star_backward(
    const at::Tensor* a,
    const at::Tensor* b,
    const at::Tensor* grad,
    int limit,
    at::Tensor** grad_a,
    at::Tensor** grad_b) {
  return mmy::guarded([&] {
    c10::NoGradGuard no_grad;
    check_alike(*a, *b);
    check_alike(*a, *grad);
    auto result_a = at::empty_like(*a, a->suggest_memory_format());
    auto result_b = at::empty_like(*a, a->suggest_memory_format());
    const auto& all = kernels(limit);
    const auto run = a->scalar_type() == at::kFloat ? all.backward_float32 : all.backward_bfloat16;
    const int64_t bytes = a->element_size();
    auto x = static_cast<const char*>(a->const_data_ptr()), y = static_cast<const char*>(b->const_data_ptr());
    auto g = static_cast<const char*>(grad->const_data_ptr());
    auto to_a = static_cast<char*>(result_a.mutable_data_ptr()), to_b = static_cast<char*>(result_b.mutable_data_ptr());
    at::parallel_for(0, a->numel(), grain, [&](int64_t begin, int64_t end) {
      const int64_t at = begin * bytes;
      run(x + at, y + at, g + at, to_a + at, to_b + at, end - begin);
    });
    *grad_a = new at::Tensor(std::move(result_a));
    *grad_b = new at::Tensor(std::move(result_b));
  });
}

} // extern "C"
