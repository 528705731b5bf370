// The instruction sets for which the kernels are compiled.
#pragma once

namespace mmy {

// The best that the processor runs, but not above `limit`: 0 the baseline, 1 AVX2, 2 AVX-512.
inline int instruction_set(int limit) {
#if defined(__x86_64__)
  static const int best = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
      ? 2
      : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1 : 0;
  return best < limit ? best : limit;
#else
  return 0;
#endif
}

} // namespace mmy
