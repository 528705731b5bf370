// Gradients of a depthwise convolution's weight and bias, for channels-last tensors.
//
// This header and the kernel include nothing: the kernel is compiled once for each instruction set, and an inline
// function of a library compiled so could be the copy that the linker keeps for everyone.
#pragma once

namespace mmy {

// A convolution of stride 1 with a square kernel of odd size, on N×H×W×C in memory.
struct Depthwise {
  long long channels;
  long long height, width; // of the input
  long long out_height, out_width;
  long long kernel, padding;
};

// Picture by picture and for channels [first, last): `weight[(ky * kernel + kx) * channels + c]` and `bias[c]` are set to
// the sums over one picture. `input` and `grad` are that picture's, in float or the upper halves of floats; `zeros` is
// a row of zeros as long as the input's.
using DepthwiseKernel = void (*)(
    const Depthwise& shape,
    const void* input,
    const void* grad,
    const void* zeros,
    long long first,
    long long last,
    float* weight,
    float* bias);

// A kernel for float and one for bfloat16, and the number of channels that they take at once.
struct DepthwiseKernels {
  DepthwiseKernel float32, bfloat16;
  long long width;
};

extern const DepthwiseKernels depthwise_baseline;
#if defined(__x86_64__)
extern const DepthwiseKernels depthwise_avx2;
extern const DepthwiseKernels depthwise_avx512;
#endif

} // namespace mmy
