// Leaky integrate-and-fire neurons over time, in one pass over memory each way.
#pragma once

namespace mmy {

struct Neuron {
  float threshold, decay, width;
};

struct LifKernels {
  // Spikes of neurons `begin` to `end` of `neurons` over `steps` slices of currents, which lie one after the other.
  using Forward = void (*)(
      const void* x, void* spikes, Neuron neuron, long long steps, long long neurons, long long begin, long long end);
  // The gradient of the currents from that of the spikes; the potentials are computed anew.
  using Backward = void (*)(
      const void* x,
      const void* grad,
      void* grad_x,
      Neuron neuron,
      long long steps,
      long long neurons,
      long long begin,
      long long end);
  Forward forward_float32, forward_bfloat16;
  Backward backward_float32, backward_bfloat16;
};

// The backward pass holds the potentials of that many steps at most.
constexpr long long most_lif_steps = 64;

extern const LifKernels lif_baseline;
#if defined(__x86_64__)
extern const LifKernels lif_avx2;
extern const LifKernels lif_avx512;
#endif

} // namespace mmy
