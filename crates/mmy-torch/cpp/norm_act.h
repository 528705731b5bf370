// Batch normalisation by a batch's own statistics, and the activation after it, over rows of channels.
//
// Kernels work on a block of rows, so that sums are those of each block whatever the number of threads.
#pragma once

namespace mmy {

// Rows of `channels` numbers each, in float or the upper halves of floats.
struct NormKernels {
  // Sets `sum[c]` and `squares[c]` to the sums of x - shift[c] and of its square.
  using Sums = void (*)(
      const void* x, long long rows, long long channels, const float* shift, float* sum, float* squares);
  // y = act((x - mean[c]) * scale[c] + bias[c]).
  using Apply = void (*)(
      const void* x,
      long long rows,
      long long channels,
      const float* mean,
      const float* scale,
      const float* bias,
      void* y);
  // z = grad * act'((x - mean[c]) * scale[c] + bias[c]); sets `sum[c]` to the sum of z and `product[c]` to that of
  // z * (x - mean[c]). Rows of `grad` begin `stride` numbers apart.
  using Slopes = void (*)(
      const void* x,
      const void* grad,
      long long stride,
      long long rows,
      long long channels,
      const float* mean,
      const float* scale,
      const float* bias,
      void* z,
      float* sum,
      float* product);
  // z = scale[c] * (z - average[c] - (x - mean[c]) * slope[c]), in place.
  using Centre = void (*)(
      const void* x,
      long long rows,
      long long channels,
      const float* mean,
      const float* scale,
      const float* average,
      const float* slope,
      void* z);
  // Each for float and for bfloat16; what depends on the activation for each of them too, in the order of
  // `mmy_torch::norm_act::Activation`.
  Sums sums[2];
  Apply apply[4][2];
  Slopes slopes[4][2];
  Centre centre[2];
};

extern const NormKernels norm_act_baseline;
#if defined(__x86_64__)
extern const NormKernels norm_act_avx2;
extern const NormKernels norm_act_avx512;
#endif

} // namespace mmy
