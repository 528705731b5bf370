// Vectors of floats, and how they are read from and written to memory as float or bfloat16.
//
// A file that includes this is compiled once for each instruction set, with MMY_ISA its name. It includes nothing of
// any library: an inline function compiled so could be the copy that the linker keeps for everyone.
#pragma once

#if defined(__AVX512F__)
#define MMY_LANES 16
#define MMY_REGISTERS 32
#elif defined(__AVX2__)
#define MMY_LANES 8
#define MMY_REGISTERS 16
#elif defined(__aarch64__)
#define MMY_LANES 4
#define MMY_REGISTERS 32
#else
#define MMY_LANES 4
#define MMY_REGISTERS 16
#endif

#define MMY_JOIN_(a, b) a##b
#define MMY_JOIN(a, b) MMY_JOIN_(a, b)
#define MMY_UNROLL _Pragma("GCC unroll 16")
#define MMY_INLINE inline __attribute__((always_inline))

namespace mmy {
namespace {

using Half = unsigned short; // bfloat16

template <int N>
struct Lanes {
  typedef float Floats __attribute__((vector_size(4 * N)));
  typedef unsigned Words __attribute__((vector_size(4 * N)));
  typedef int Integers __attribute__((vector_size(4 * N)));
  typedef Half Halves __attribute__((vector_size(2 * N)));
};
template <int N>
using Floats = typename Lanes<N>::Floats;

template <int N>
MMY_INLINE Floats<N> load(const float* from) {
  Floats<N> value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}

template <int N>
MMY_INLINE Floats<N> load(const Half* from) {
  typename Lanes<N>::Halves halves;
  __builtin_memcpy(&halves, from, sizeof halves);
  auto words = __builtin_convertvector(halves, typename Lanes<N>::Words) << 16;
  return (Floats<N>)words;
}

template <int N>
MMY_INLINE void store(float* to, Floats<N> value) {
  __builtin_memcpy(to, &value, sizeof value);
}

// Rounds to the nearest bfloat16, to the even one of two, as libtorch does.
template <int N>
MMY_INLINE typename Lanes<N>::Words rounded(Floats<N> value) {
  using Words = typename Lanes<N>::Words;
  Words bits = (Words)value;
  bits = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  Words broken = (Words)(value != value);
  return (broken & 0x7fc0) | (~broken & bits);
}

template <int N>
MMY_INLINE void store(Half* to, Floats<N> value) {
  auto halves = __builtin_convertvector(rounded<N>(value), typename Lanes<N>::Halves);
  __builtin_memcpy(to, &halves, sizeof halves);
}

} // namespace
} // namespace mmy
