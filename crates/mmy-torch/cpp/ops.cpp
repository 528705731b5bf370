// Operators over lists of tensors, memory formats, the random generator and the thread pools.

#include "edge.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/cpu/Utils.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_zero.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/GradMode.h>

#include <cstdlib>
#include <cstring>
#include <mutex>

namespace mmy {

namespace {
char out_of_memory[] = "out of memory";
}

char* message(const char* text) noexcept {
  char* copy = strdup(text);
  return copy ? copy : out_of_memory;
}

namespace {

// Whether `a` and `b` order their elements in memory alike. The stride of an axis of one element is of no account.
bool same_layout(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) {
    return false;
  }
  for (int64_t i = 0; i < a.dim(); i++) {
    if (a.size(i) > 1 && a.stride(i) != b.stride(i)) {
      return false;
    }
  }
  return true;
}

// The fused kernels walk parameter, gradient and state as flat memory, so all must be dense and laid out alike.
void check_dense(const std::vector<at::Tensor>& parameters) {
  for (size_t i = 0; i < parameters.size(); i++) {
    TORCH_CHECK(
        parameters[i].is_non_overlapping_and_dense(),
        "parameter ", i, " of shape ", parameters[i].sizes(), " is not dense in memory");
  }
}

void check_state(
    const char* what,
    const std::vector<at::Tensor>& parameters,
    const std::vector<at::Tensor>& state) {
  TORCH_CHECK(
      parameters.size() == state.size(),
      parameters.size(), " parameters but ", state.size(), " of ", what);
  for (size_t i = 0; i < state.size(); i++) {
    TORCH_CHECK(
        same_layout(parameters[i], state[i]) &&
            parameters[i].scalar_type() == state[i].scalar_type(),
        what, " ", i, " (", state[i].scalar_type(), " ", state[i].sizes(), ", strides ",
        state[i].strides(), ") is not laid out as its parameter (", parameters[i].scalar_type(),
        " ", parameters[i].sizes(), ", strides ", parameters[i].strides(), ")");
  }
}

// Gradients in their parameters' layout; a gradient that is so already is not copied.
std::vector<at::Tensor> gradients_like(
    const std::vector<at::Tensor>& parameters,
    std::vector<at::Tensor> grads) {
  TORCH_CHECK(
      parameters.size() == grads.size(),
      parameters.size(), " parameters but ", grads.size(), " gradients");
  for (size_t i = 0; i < grads.size(); i++) {
    TORCH_CHECK(grads[i].defined(), "parameter ", i, " has no gradient");
    TORCH_CHECK(
        grads[i].sizes() == parameters[i].sizes() &&
            grads[i].scalar_type() == parameters[i].scalar_type(),
        "gradient ", i, " is ", grads[i].scalar_type(), " ", grads[i].sizes(),
        ", its parameter ", parameters[i].scalar_type(), " ", parameters[i].sizes());
    if (!same_layout(parameters[i], grads[i])) {
      auto copy = at::empty_like(parameters[i]);
      copy.copy_(grads[i]);
      grads[i] = copy;
    }
  }
  return grads;
}

} // namespace
} // namespace mmy

extern "C" {

void mmy_message_free(char* text) {
  if (text != mmy::out_of_memory) {
    std::free(text);
  }
}

char* mmy_foreach_lerp(at::Tensor* const* to, size_t n_to, at::Tensor* const* from, size_t n_from, double weight) {
  return mmy::guarded([&] {
    c10::NoGradGuard no_grad;
    at::_foreach_lerp_(mmy::list(to, n_to), mmy::list(from, n_from), weight);
  });
}

char* mmy_foreach_mul(at::Tensor* const* to, size_t n_to, double factor) {
  return mmy::guarded([&] {
    c10::NoGradGuard no_grad;
    at::_foreach_mul_(mmy::list(to, n_to), factor);
  });
}

char* mmy_foreach_add(at::Tensor* const* to, size_t n_to, at::Tensor* const* from, size_t n_from, double alpha) {
  return mmy::guarded([&] {
    c10::NoGradGuard no_grad;
    at::_foreach_add_(mmy::list(to, n_to), mmy::list(from, n_from), alpha);
  });
}

char* mmy_foreach_copy(at::Tensor* const* to, size_t n_to, at::Tensor* const* from, size_t n_from) {
  return mmy::guarded([&] {
    c10::NoGradGuard no_grad;
    at::_foreach_copy_(mmy::list(to, n_to), mmy::list(from, n_from));
  });
}

char* mmy_foreach_zero(at::Tensor* const* to, size_t n_to) {
  return mmy::guarded([&] {
    c10::NoGradGuard no_grad;
    at::_foreach_zero_(mmy::list(to, n_to));
  });
}

// `norms` holds a new scalar tensor for each; half precision is summed in float.
char* mmy_foreach_norm(at::Tensor* const* of, size_t n_of, double order, at::Tensor** norms) {
  return mmy::guarded([&] {
    c10::NoGradGuard no_grad;
    auto tensors = mmy::list(of, n_of);
    std::optional<at::ScalarType> kind = at::kFloat;
    for (auto& tensor : tensors) {
      TORCH_CHECK(tensor.defined(), "the norm of an undefined tensor");
      if (tensor.scalar_type() == at::kDouble) {
        kind = std::nullopt;
      }
    }
    auto found = at::_foreach_norm(tensors, order, kind);
    for (size_t i = 0; i < n_of; i++) {
      norms[i] = new at::Tensor(std::move(found.at(i)));
    }
  });
}

char* mmy_fused_sgd(
    at::Tensor* const* parameters,
    at::Tensor* const* grads,
    at::Tensor* const* buffers,
    size_t count,
    size_t n_buffers,
    double weight_decay,
    double momentum,
    double lr,
    double dampening,
    int nesterov,
    int maximize,
    int first_step) {
  return mmy::guarded([&] {
    c10::NoGradGuard no_grad;
    auto values = mmy::list(parameters, count);
    auto state = mmy::list(buffers, n_buffers);
    mmy::check_dense(values);
    if (momentum != 0) {
      mmy::check_state("momentum buffer", values, state);
    }
    auto gradients = mmy::gradients_like(values, mmy::list(grads, count));
    at::_fused_sgd_(
        values, gradients, state, weight_decay, momentum, lr, dampening, nesterov != 0, maximize != 0, first_step != 0);
  });
}

char* mmy_fused_adam(
    at::Tensor* const* parameters,
    at::Tensor* const* grads,
    at::Tensor* const* exp_avgs,
    at::Tensor* const* exp_avg_sqs,
    at::Tensor* const* max_exp_avg_sqs,
    at::Tensor* const* steps,
    size_t count,
    double lr,
    double beta1,
    double beta2,
    double weight_decay,
    double eps,
    int amsgrad,
    int maximize,
    int decoupled) {
  return mmy::guarded([&] {
    c10::NoGradGuard no_grad;
    auto values = mmy::list(parameters, count);
    auto first = mmy::list(exp_avgs, count);
    auto second = mmy::list(exp_avg_sqs, count);
    auto largest = mmy::list(max_exp_avg_sqs, amsgrad ? count : 0);
    auto counts = mmy::list(steps, count);
    mmy::check_dense(values);
    mmy::check_state("exp_avg", values, first);
    mmy::check_state("exp_avg_sq", values, second);
    if (amsgrad) {
      mmy::check_state("max_exp_avg_sq", values, largest);
    }
    auto gradients = mmy::gradients_like(values, mmy::list(grads, count));
    at::_foreach_add_(counts, 1);
    auto step = decoupled ? &at::_ops::_fused_adamw_::call : &at::_ops::_fused_adam_::call;
    step(
        values, gradients, first, second, largest, counts, lr, beta1, beta2, weight_decay, eps, amsgrad != 0,
        maximize != 0, std::nullopt, std::nullopt);
  });
}

// `format` is a c10::MemoryFormat.
char* mmy_to_memory_format(const at::Tensor* tensor, int format, at::Tensor** result) {
  return mmy::guarded([&] {
    *result = new at::Tensor(tensor->to(
        tensor->options(), /*non_blocking=*/false, /*copy=*/false, static_cast<at::MemoryFormat>(format)));
  });
}

char* mmy_is_contiguous_in(const at::Tensor* tensor, int format, int* result) {
  return mmy::guarded([&] { *result = tensor->is_contiguous(static_cast<at::MemoryFormat>(format)); });
}

// A new byte tensor.
char* mmy_rng_state(at::Tensor** state) {
  return mmy::guarded([&] {
    auto generator = at::detail::getDefaultCPUGenerator();
    std::lock_guard<std::mutex> lock(generator.mutex());
    *state = new at::Tensor(generator.get_state());
  });
}

char* mmy_rng_set_state(const at::Tensor* state) {
  return mmy::guarded([&] {
    auto generator = at::detail::getDefaultCPUGenerator();
    std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(*state);
  });
}

char* mmy_rng_initial_seed(uint64_t* seed) {
  return mmy::guarded([&] { *seed = at::detail::getDefaultCPUGenerator().current_seed(); });
}

char* mmy_threads_set(int count) {
  return mmy::guarded([&] { at::set_num_threads(count); });
}

char* mmy_threads_set_interop(int count) {
  return mmy::guarded([&] { at::set_num_interop_threads(count); });
}

int mmy_threads_get() {
  return at::get_num_threads();
}

int mmy_threads_get_interop() {
  return static_cast<int>(at::get_num_interop_threads());
}

// Calls `visit` with the name of each capability of the processor that is a flag and set.
char* mmy_cpu_features(void (*visit)(void* context, const char* name), void* context) {
  return mmy::guarded([&] {
    for (auto& entry : at::cpu::get_cpu_capabilities()) {
      if (entry.second.isBool() && entry.second.toBool()) {
        visit(context, entry.first.c_str());
      }
    }
  });
}

} // extern "C"
