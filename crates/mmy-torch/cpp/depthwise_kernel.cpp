// The gradient of a depthwise convolution's weight. Compiled once for each instruction set.
//
// Lanes are channels. The input's row is walked once, with a window of the gradient's row in registers: each pixel of the
// input meets the `K` pixels of the gradient that it contributed to, so `R` rows of the kernel cost `R + 1` loads and
// `R * K` multiplications. The sums of those `R * K` taps stay in registers over the whole picture.

#include "depthwise.h"
#include "lanes.h"

namespace mmy {
namespace {

// The taps of `R` rows of the kernel from row `top` on, for `N` channels.
template <class T, int N, int K, int R>
__attribute__((noinline)) void taps(
    const Depthwise& s, const T* input, const T* grad, const T* zeros, long long top, float* weight) {
  Floats<N> sum[R][K] = {};
  const long long pixel = s.channels;
  // The input's columns whose whole window has not yet reached the gradient's end.
  const long long inner =
      s.out_width - s.padding < s.width ? s.out_width - s.padding : s.width;
  for (long long y = 0; y < s.out_height; y++) {
    const T* rows[R];
    bool any = false;
    MMY_UNROLL for (int r = 0; r < R; r++) {
      long long row = y + top + r - s.padding;
      bool inside = row >= 0 && row < s.height;
      rows[r] = inside ? input + row * s.width * pixel : zeros;
      any |= inside;
    }
    if (!any) {
      continue;
    }
    const T* line = grad + y * s.out_width * pixel;
    // Column `x` of the input meets column `x + padding - kx` of the gradient, which is in slot `(i - kx) mod K` where
    // `i` is `x mod K`.
    Floats<N> window[K] = {};
    MMY_UNROLL for (int kx = 1; kx < K; kx++) {
      long long at = s.padding - kx;
      if (at >= 0 && at < s.out_width) {
        window[K - kx] = load<N>(line + at * pixel);
      }
    }
    const T* next = line + s.padding * pixel;
    long long x = 0;
    for (; x + K <= inner; x += K) {
      MMY_UNROLL for (int i = 0; i < K; i++) {
        window[i] = load<N>(next + (x + i) * pixel);
        MMY_UNROLL for (int r = 0; r < R; r++) {
          Floats<N> value = load<N>(rows[r] + (x + i) * pixel);
          MMY_UNROLL for (int kx = 0; kx < K; kx++) {
            sum[r][kx] += value * window[(i - kx + K) % K];
          }
        }
      }
    }
    for (; x < s.width; x += K) {
      MMY_UNROLL for (int i = 0; i < K; i++) {
        if (x + i >= s.width) {
          break;
        }
        window[i] = x + i < inner ? load<N>(next + (x + i) * pixel) : Floats<N>{};
        MMY_UNROLL for (int r = 0; r < R; r++) {
          Floats<N> value = load<N>(rows[r] + (x + i) * pixel);
          MMY_UNROLL for (int kx = 0; kx < K; kx++) {
            sum[r][kx] += value * window[(i - kx + K) % K];
          }
        }
      }
    }
  }
  MMY_UNROLL for (int r = 0; r < R; r++) {
    MMY_UNROLL for (int kx = 0; kx < K; kx++) {
      __builtin_memcpy(weight + ((top + r) * K + kx) * pixel, &sum[r][kx], sizeof sum[r][kx]);
    }
  }
}

// How many rows of the kernel fit the registers, with the window and one pixel of the input beside their sums.
constexpr int rows_at_once(int kernel) {
  int rows = (MMY_REGISTERS - kernel - 1) / kernel;
  return rows < 1 ? 1 : rows > 3 ? 3 : rows;
}

template <class T, int N, int K>
void picture(
    const Depthwise& s, const T* input, const T* grad, const T* zeros, float* weight, float* bias) {
  constexpr int R = rows_at_once(K);
  long long top = 0;
  for (; top + R <= K; top += R) {
    taps<T, N, K, R>(s, input, grad, zeros, top, weight);
  }
  if constexpr (K % R != 0) {
    taps<T, N, K, K % R>(s, input, grad, zeros, top, weight);
  }
  Floats<N> sums[4] = {};
  const long long pixels = s.out_height * s.out_width;
  long long i = 0;
  for (; i + 4 <= pixels; i += 4) {
    MMY_UNROLL for (int j = 0; j < 4; j++) {
      sums[j] += load<N>(grad + (i + j) * s.channels);
    }
  }
  for (; i < pixels; i++) {
    sums[0] += load<N>(grad + i * s.channels);
  }
  Floats<N> sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  __builtin_memcpy(bias, &sum, sizeof sum);
}

template <class T, int K>
void channels(
    const Depthwise& s, const T* input, const T* grad, const T* zeros, long long first, long long last,
    float* weight, float* bias) {
  long long c = first;
  for (; c + MMY_LANES <= last; c += MMY_LANES) {
    picture<T, MMY_LANES, K>(s, input + c, grad + c, zeros, weight + c, bias + c);
  }
#if MMY_LANES > 8
  for (; c + 8 <= last; c += 8) {
    picture<T, 8, K>(s, input + c, grad + c, zeros, weight + c, bias + c);
  }
#endif
#if MMY_LANES > 4
  for (; c + 4 <= last; c += 4) {
    picture<T, 4, K>(s, input + c, grad + c, zeros, weight + c, bias + c);
  }
#endif
  for (; c < last; c++) {
    picture<T, 1, K>(s, input + c, grad + c, zeros, weight + c, bias + c);
  }
}

template <class T>
void run(
    const Depthwise& s, const void* input, const void* grad, const void* zeros, long long first, long long last,
    float* weight, float* bias) {
  auto x = static_cast<const T*>(input);
  auto g = static_cast<const T*>(grad);
  auto z = static_cast<const T*>(zeros);
  switch (s.kernel) {
    case 3:
      return channels<T, 3>(s, x, g, z, first, last, weight, bias);
    case 5:
      return channels<T, 5>(s, x, g, z, first, last, weight, bias);
    case 7:
      return channels<T, 7>(s, x, g, z, first, last, weight, bias);
  }
}

} // namespace

extern const DepthwiseKernels MMY_JOIN(depthwise_, MMY_ISA) = {run<float>, run<Half>, MMY_LANES};

} // namespace mmy
