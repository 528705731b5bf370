// Leaky integrate-and-fire neurons. Compiled once for each instruction set. Potentials are float whatever the currents
// are.

#include "lif.h"
#include "lanes.h"

namespace mmy {
namespace {

// What is left of a potential in the next step: nothing where it fired.
template <int N>
MMY_INLINE Floats<N> rest(Floats<N> potential, Neuron neuron) {
  return potential > neuron.threshold ? Floats<N>{} : potential * neuron.decay;
}

template <class T, int N>
MMY_INLINE void forward(const T* x, T* spikes, Neuron neuron, long long steps, long long stride) {
  Floats<N> left = {};
  for (long long t = 0; t < steps; t++) {
    Floats<N> potential = left + load<N>(x + t * stride);
    store<N>(spikes + t * stride, potential > neuron.threshold ? Floats<N>{} + 1.0f : Floats<N>{});
    left = rest<N>(potential, neuron);
  }
}

template <class T, int N>
MMY_INLINE void backward(const T* x, const T* grad, T* grad_x, Neuron neuron, long long steps, long long stride) {
  Floats<N> potentials[most_lif_steps];
  Floats<N> left = {};
  for (long long t = 0; t < steps; t++) {
    potentials[t] = left + load<N>(x + t * stride);
    left = rest<N>(potentials[t], neuron);
  }
  const float slope = 0.5f / neuron.width;
  Floats<N> after = {};
  for (long long t = steps - 1; t >= 0; t--) {
    Floats<N> potential = potentials[t];
    Floats<N> passed = potential > neuron.threshold ? Floats<N>{} : after * neuron.decay;
    Floats<N> distance = potential - neuron.threshold;
    Floats<N> fired = load<N>(grad + t * stride) * slope;
    fired = distance < neuron.width ? fired : Floats<N>{};
    fired = distance > -neuron.width ? fired : Floats<N>{};
    after = fired + passed;
    store<N>(grad_x + t * stride, after);
  }
}

template <class T>
void forward_all(
    const void* x, void* spikes, Neuron neuron, long long steps, long long neurons, long long begin, long long end) {
  auto from = static_cast<const T*>(x);
  auto to = static_cast<T*>(spikes);
  long long i = begin;
  for (; i + MMY_LANES <= end; i += MMY_LANES) {
    forward<T, MMY_LANES>(from + i, to + i, neuron, steps, neurons);
  }
  for (; i < end; i++) {
    forward<T, 1>(from + i, to + i, neuron, steps, neurons);
  }
}

template <class T>
void backward_all(
    const void* x,
    const void* grad,
    void* grad_x,
    Neuron neuron,
    long long steps,
    long long neurons,
    long long begin,
    long long end) {
  auto from = static_cast<const T*>(x), g = static_cast<const T*>(grad);
  auto to = static_cast<T*>(grad_x);
  long long i = begin;
  for (; i + MMY_LANES <= end; i += MMY_LANES) {
    backward<T, MMY_LANES>(from + i, g + i, to + i, neuron, steps, neurons);
  }
  for (; i < end; i++) {
    backward<T, 1>(from + i, g + i, to + i, neuron, steps, neurons);
  }
}

} // namespace

extern const LifKernels MMY_JOIN(lif_, MMY_ISA) = {
    forward_all<float>, forward_all<Half>, backward_all<float>, backward_all<Half>};

} // namespace mmy
