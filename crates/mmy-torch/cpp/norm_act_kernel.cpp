// Batch normalisation and activation. Compiled once for each instruction set. Numbers are float in between, and rounded
// once, where they are written.

#include "norm_act.h"
#include "lanes.h"

namespace mmy {
namespace {

// e^x to some 2 units in the last place, 0 and infinity where float ends.
template <int N>
MMY_INLINE Floats<N> exponential(Floats<N> x) {
  // Outside of these the result is 0 or infinite all the same. A NaN passes both.
  x = x < -87.3f ? Floats<N>{} - 87.3f : x;
  x = x > 88.7f ? Floats<N>{} + 88.7f : x;
  // x = n ln 2 + r, with n found by adding a number whose last bit counts one.
  const float round = 12582912.0f;
  Floats<N> shifted = x * 1.44269504f + round;
  Floats<N> n = shifted - round;
  Floats<N> r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Floats<N> y = r * 1.9875691500e-4f + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * (r * r) + r + 1.0f;
  // 2^n in two halves, since n may be 128.
  using Words = typename Lanes<N>::Words;
  Words power = (Words)shifted - 0x4b400000u;
  Words half = (Words)((typename Lanes<N>::Integers)power >> 1);
  Words rest = power - half;
  return y * (Floats<N>)((half + 127u) << 23) * (Floats<N>)((rest + 127u) << 23);
}

struct Identity {
  template <int N>
  static MMY_INLINE Floats<N> value(Floats<N> x) {
    return x;
  }
  template <int N>
  static MMY_INLINE Floats<N> slope(Floats<N>) {
    return Floats<N>{} + 1.0f;
  }
};

struct Relu {
  template <int N>
  static MMY_INLINE Floats<N> value(Floats<N> x) {
    return x < 0.0f ? Floats<N>{} : x;
  }
  template <int N>
  static MMY_INLINE Floats<N> slope(Floats<N> x) {
    return x <= 0.0f ? Floats<N>{} : Floats<N>{} + 1.0f;
  }
};

struct Relu6 {
  template <int N>
  static MMY_INLINE Floats<N> value(Floats<N> x) {
    x = x < 0.0f ? Floats<N>{} : x;
    return x > 6.0f ? Floats<N>{} + 6.0f : x;
  }
  // The limits themselves pass no gradient, as in libtorch.
  template <int N>
  static MMY_INLINE Floats<N> slope(Floats<N> x) {
    Floats<N> slope = x <= 0.0f ? Floats<N>{} : Floats<N>{} + 1.0f;
    return x >= 6.0f ? Floats<N>{} : slope;
  }
};

struct Silu {
  template <int N>
  static MMY_INLINE Floats<N> value(Floats<N> x) {
    return x / (exponential<N>(-x) + 1.0f);
  }
  template <int N>
  static MMY_INLINE Floats<N> slope(Floats<N> x) {
    Floats<N> sigmoid = 1.0f / (exponential<N>(-x) + 1.0f);
    return sigmoid * (x * (1.0f - sigmoid) + 1.0f);
  }
};

// Calls `body.run<N>(first channel)` for vectors that cover all channels.
template <class Body>
MMY_INLINE void over_channels(long long channels, const Body& body) {
  long long c = 0;
  for (; c + MMY_LANES <= channels; c += MMY_LANES) {
    body.template run<MMY_LANES>(c);
  }
#if MMY_LANES > 8
  for (; c + 8 <= channels; c += 8) {
    body.template run<8>(c);
  }
#endif
#if MMY_LANES > 4
  for (; c + 4 <= channels; c += 4) {
    body.template run<4>(c);
  }
#endif
  for (; c < channels; c++) {
    body.template run<1>(c);
  }
}

template <class T>
struct Sums {
  const T* x;
  long long rows, channels;
  const float* shift;
  float *sum, *squares;

  template <int N>
  MMY_INLINE void run(long long c) const {
    const Floats<N> base = load<N>(shift + c);
    // Four rows at a time, so that one sum does not wait for another.
    Floats<N> sums[4] = {}, products[4] = {};
    const T* from = x + c;
    long long row = 0;
    for (; row + 4 <= rows; row += 4) {
      MMY_UNROLL
      for (int i = 0; i < 4; i++) {
        Floats<N> value = load<N>(from + (row + i) * channels) - base;
        sums[i] += value;
        products[i] += value * value;
      }
    }
    for (; row < rows; row++) {
      Floats<N> value = load<N>(from + row * channels) - base;
      sums[0] += value;
      products[0] += value * value;
    }
    store<N>(sum + c, (sums[0] + sums[1]) + (sums[2] + sums[3]));
    store<N>(squares + c, (products[0] + products[1]) + (products[2] + products[3]));
  }
};

template <class Act, class T>
struct Apply {
  const T* x;
  long long rows, channels;
  const float *mean, *scale, *bias;
  T* y;

  template <int N>
  MMY_INLINE void run(long long c) const {
    const Floats<N> middle = load<N>(mean + c), by = load<N>(scale + c), plus = load<N>(bias + c);
    for (long long at = c; at < rows * channels; at += channels) {
      store<N>(y + at, Act::template value<N>((load<N>(x + at) - middle) * by + plus));
    }
  }
};

template <class Act, class T>
struct Slopes {
  const T *x, *grad;
  long long stride, rows, channels;
  const float *mean, *scale, *bias;
  T* z;
  float *sum, *product;

  template <int N>
  MMY_INLINE void run(long long c) const {
    const Floats<N> middle = load<N>(mean + c), by = load<N>(scale + c), plus = load<N>(bias + c);
    Floats<N> sums[2] = {}, products[2] = {};
    auto one = [&](long long row, int i) __attribute__((always_inline)) {
      Floats<N> distance = load<N>(x + row * channels + c) - middle;
      Floats<N> slope = load<N>(grad + row * stride + c) * Act::template slope<N>(distance * by + plus);
      store<N>(z + row * channels + c, slope);
      sums[i] += slope;
      products[i] += slope * distance;
    };
    long long row = 0;
    for (; row + 2 <= rows; row += 2) {
      one(row, 0);
      one(row + 1, 1);
    }
    if (row < rows) {
      one(row, 0);
    }
    store<N>(sum + c, sums[0] + sums[1]);
    store<N>(product + c, products[0] + products[1]);
  }
};

template <class T>
struct Centre {
  const T* x;
  long long rows, channels;
  const float *mean, *scale, *average, *slope;
  T* z;

  template <int N>
  MMY_INLINE void run(long long c) const {
    const Floats<N> middle = load<N>(mean + c), by = load<N>(scale + c);
    const Floats<N> minus = load<N>(average + c), per = load<N>(slope + c);
    for (long long at = c; at < rows * channels; at += channels) {
      store<N>(z + at, by * (load<N>(z + at) - minus - (load<N>(x + at) - middle) * per));
    }
  }
};

template <class T>
void sums(const void* x, long long rows, long long channels, const float* shift, float* sum, float* squares) {
  over_channels(channels, Sums<T>{static_cast<const T*>(x), rows, channels, shift, sum, squares});
}

template <class Act, class T>
void apply(
    const void* x,
    long long rows,
    long long channels,
    const float* mean,
    const float* scale,
    const float* bias,
    void* y) {
  over_channels(
      channels, Apply<Act, T>{static_cast<const T*>(x), rows, channels, mean, scale, bias, static_cast<T*>(y)});
}

template <class Act, class T>
void slopes(
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
    float* product) {
  over_channels(
      channels,
      Slopes<Act, T>{
          static_cast<const T*>(x), static_cast<const T*>(grad), stride, rows, channels, mean, scale, bias,
          static_cast<T*>(z), sum, product});
}

template <class T>
void centre(
    const void* x,
    long long rows,
    long long channels,
    const float* mean,
    const float* scale,
    const float* average,
    const float* slope,
    void* z) {
  over_channels(
      channels,
      Centre<T>{static_cast<const T*>(x), rows, channels, mean, scale, average, slope, static_cast<T*>(z)});
}

} // namespace

extern const NormKernels MMY_JOIN(norm_act_, MMY_ISA) = {
    {sums<float>, sums<Half>},
    {{apply<Identity, float>, apply<Identity, Half>},
     {apply<Relu, float>, apply<Relu, Half>},
     {apply<Relu6, float>, apply<Relu6, Half>},
     {apply<Silu, float>, apply<Silu, Half>}},
    {{slopes<Identity, float>, slopes<Identity, Half>},
     {slopes<Relu, float>, slopes<Relu, Half>},
     {slopes<Relu6, float>, slopes<Relu6, Half>},
     {slopes<Silu, float>, slopes<Silu, Half>}},
    {centre<float>, centre<Half>}};

} // namespace mmy
