// The star operation. Compiled once for each instruction set. Each result is rounded where libtorch's separate operators
// would round it, so that the numbers are theirs to the last bit.

#include "star.h"
#include "lanes.h"

namespace mmy {
namespace {

template <class T, int N>
MMY_INLINE void forward(const T* a, const T* b, T* y) {
  Floats<N> value = load<N>(a);
  // Written so that what is no number stays so.
  value = value < 0.0f ? Floats<N>{} : value;
  value = value > 6.0f ? Floats<N>{} + 6.0f : value;
  store<N>(y, value * load<N>(b));
}

template <class T, int N>
MMY_INLINE void backward(const T* a, const T* b, const T* grad, T* grad_a, T* grad_b) {
  Floats<N> value = load<N>(a), g = load<N>(grad);
  Floats<N> through_b = g * load<N>(b);
  // The limits themselves pass no gradient, as in libtorch.
  through_b = value <= 0.0f ? Floats<N>{} : through_b;
  through_b = value >= 6.0f ? Floats<N>{} : through_b;
  value = value < 0.0f ? Floats<N>{} : value;
  value = value > 6.0f ? Floats<N>{} + 6.0f : value;
  store<N>(grad_a, through_b);
  store<N>(grad_b, g * value);
}

template <class T>
void forward_all(const void* a, const void* b, void* y, long long count) {
  auto from = static_cast<const T*>(a), by = static_cast<const T*>(b);
  auto to = static_cast<T*>(y);
  long long i = 0;
  for (; i + MMY_LANES <= count; i += MMY_LANES) {
    forward<T, MMY_LANES>(from + i, by + i, to + i);
  }
  for (; i < count; i++) {
    forward<T, 1>(from + i, by + i, to + i);
  }
}

template <class T>
void backward_all(const void* a, const void* b, const void* grad, void* grad_a, void* grad_b, long long count) {
  auto x = static_cast<const T*>(a), y = static_cast<const T*>(b), g = static_cast<const T*>(grad);
  auto to_a = static_cast<T*>(grad_a), to_b = static_cast<T*>(grad_b);
  long long i = 0;
  for (; i + MMY_LANES <= count; i += MMY_LANES) {
    backward<T, MMY_LANES>(x + i, y + i, g + i, to_a + i, to_b + i);
  }
  for (; i < count; i++) {
    backward<T, 1>(x + i, y + i, g + i, to_a + i, to_b + i);
  }
}

} // namespace

extern const StarKernels MMY_JOIN(star_, MMY_ISA) = {
    forward_all<float>, forward_all<Half>, backward_all<float>, backward_all<Half>};

} // namespace mmy
