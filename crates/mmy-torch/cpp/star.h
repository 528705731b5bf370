// StarNet's star operation, relu6(a) · b, in one pass over memory each way.
#pragma once

namespace mmy {

struct StarKernels {
  // y = relu6(a) · b, over `count` elements.
  using Forward = void (*)(const void* a, const void* b, void* y, long long count);
  // The gradients of a and b from that of y.
  using Backward =
      void (*)(const void* a, const void* b, const void* grad, void* grad_a, void* grad_b, long long count);
  Forward forward_float32, forward_bfloat16;
  Backward backward_float32, backward_bfloat16;
};

extern const StarKernels star_baseline;
#if defined(__x86_64__)
extern const StarKernels star_avx2;
extern const StarKernels star_avx512;
#endif

} // namespace mmy
