// Autograd nodes whose backward pass is written in Rust, and gradients of chosen inputs.

#include "edge.h"

#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/saved_variable.h>

#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_set>

using torch::autograd::variable_list;

extern "C" void mmy_message_free(char* text);

namespace {

struct RustNode;

// Fills `grad_inputs`, whose tensors start undefined. Returns null or a message.
using Backward = char* (*)(
    void* context,
    RustNode* node,
    at::Tensor* const* grad_outputs,
    size_t outputs,
    at::Tensor* const* grad_inputs,
    size_t inputs);
using Drop = void (*)(void* context);

// Owns `context`, a boxed Rust value, and drops it exactly once.
struct RustNode final : torch::autograd::Node {
  RustNode(void* context, Backward backward, Drop drop, std::string name, size_t inputs)
      : context(context), backward(backward), drop(drop), label(std::move(name)), inputs(inputs) {}
  ~RustNode() override {
    drop(context);
  }

  std::string name() const override {
    return label;
  }

  variable_list apply(variable_list&& grad_outputs) override {
    std::lock_guard<std::recursive_mutex> lock(access);
    variable_list grad_inputs(inputs);
    std::vector<at::Tensor*> from, to;
    for (auto& tensor : grad_outputs) {
      from.push_back(&tensor);
    }
    for (auto& tensor : grad_inputs) {
      to.push_back(&tensor);
    }
    if (char* text = backward(context, this, from.data(), from.size(), to.data(), to.size())) {
      std::string owned(text);
      mmy_message_free(text);
      throw std::runtime_error(owned);
    }
    return grad_inputs;
  }

  void release_variables() override {
    std::lock_guard<std::recursive_mutex> lock(access);
    saved.clear();
    released = true;
  }

  void* context;
  Backward backward;
  Drop drop;
  std::string label;
  size_t inputs;
  std::vector<torch::autograd::SavedVariable> saved;
  bool released = false;
  // The Rust value may be sent between threads but not shared: two threads may reach one node, and a nested backward
  // may come back to it in the same thread.
  std::recursive_mutex access;
};

} // namespace

extern "C" {

char* mmy_message_new(const char* text) {
  return mmy::message(text);
}

int mmy_grad_enabled() {
  return c10::GradMode::is_enabled();
}

void mmy_set_grad_enabled(int on) {
  c10::GradMode::set_enabled(on);
}

// Ties `outputs`, computed without a graph, to `inputs`. Takes `context` over whatever happens. Each output is replaced
// by the tensor to hand on, which may be a view of the one given.
char* mmy_function_apply(
    at::Tensor* const* inputs,
    size_t n_inputs,
    at::Tensor* const* outputs,
    size_t n_outputs,
    const uint8_t* non_differentiable,
    at::Tensor* const* saved,
    size_t n_saved,
    const char* name,
    void* context,
    Backward backward,
    Drop drop) {
  return mmy::guarded([&] {
    auto node = c10::make_intrusive<RustNode>(context, backward, drop, name, n_inputs);
    auto sources = mmy::list(inputs, n_inputs);
    bool tracked =
        c10::GradMode::is_enabled() && torch::autograd::any_variable_requires_grad(sources);
    node->set_next_edges(
        tracked ? torch::autograd::collect_next_edges(sources) : torch::autograd::edge_list());
    node->clear_input_metadata();

    std::vector<std::optional<at::Tensor>> raw;
    std::unordered_set<at::TensorImpl*> constant;
    for (size_t i = 0; i < n_outputs; i++) {
      raw.emplace_back(*outputs[i]);
      if (non_differentiable[i]) {
        constant.insert(outputs[i]->unsafeGetTensorImpl());
      }
    }
    auto wrapped = torch::autograd::_wrap_outputs(
        sources,
        constant,
        /*dirty_inputs=*/{},
        raw,
        tracked ? node : c10::intrusive_ptr<RustNode>(),
        [](const variable_list&, const variable_list&) -> variable_list {
          throw std::runtime_error("a function written in Rust has no forward-mode derivative");
        },
        /*to_save_if_setup_context=*/{},
        [](at::Tensor tensor) { return tensor.view_as(tensor); },
        /*pure_view=*/false);
    if (tracked) {
      for (auto& tensor : mmy::list(saved, n_saved)) {
        bool is_output = tensor.defined() && tensor.grad_fn().get() == node.get();
        node->saved.emplace_back(tensor, is_output);
      }
    }
    for (size_t i = 0; i < n_outputs; i++) {
      *outputs[i] = *wrapped[i];
    }
  });
}

size_t mmy_function_saved_count(const RustNode* node) {
  return node->saved.size();
}

// Makes a new tensor of each saved one. An error when one was changed in place, or freed by an earlier backward pass.
char* mmy_function_saved(RustNode* node, at::Tensor** saved, size_t count) {
  return mmy::guarded([&] {
    TORCH_CHECK(!node->released, torch::autograd::ERR_BACKWARD_TWICE);
    variable_list unpacked;
    for (auto& variable : node->saved) {
      unpacked.push_back(variable.unpack(node->getptr()));
    }
    for (size_t i = 0; i < count; i++) {
      saved[i] = new at::Tensor(std::move(unpacked.at(i)));
    }
  });
}

int mmy_function_needs_input_grad(const RustNode* node, size_t input) {
  return node->task_should_compute_output(input);
}

void mmy_tensor_assign(at::Tensor* to, const at::Tensor* from) {
  *to = *from;
}

// `grads` holds a new tensor for each input, null where no path leads to it.
char* mmy_autograd_grad(
    at::Tensor* const* outputs,
    size_t n_outputs,
    at::Tensor* const* inputs,
    size_t n_inputs,
    at::Tensor* const* grad_outputs,
    size_t n_grad_outputs,
    int retain_graph,
    int create_graph,
    at::Tensor** grads) {
  return mmy::guarded([&] {
    auto found = torch::autograd::grad(
        mmy::list(outputs, n_outputs),
        mmy::list(inputs, n_inputs),
        mmy::list(grad_outputs, n_grad_outputs),
        retain_graph != 0,
        create_graph != 0,
        /*allow_unused=*/true);
    for (size_t i = 0; i < n_inputs; i++) {
      grads[i] = found.at(i).defined() ? new at::Tensor(std::move(found[i])) : nullptr;
    }
  });
}

char* mmy_autograd_backward(
    at::Tensor* const* outputs,
    size_t n_outputs,
    at::Tensor* const* grad_outputs,
    size_t n_grad_outputs,
    int retain_graph,
    int create_graph) {
  return mmy::guarded([&] {
    torch::autograd::backward(
        mmy::list(outputs, n_outputs),
        mmy::list(grad_outputs, n_grad_outputs),
        retain_graph != 0,
        create_graph != 0);
  });
}

char* mmy_autocast_get(int device_type, int* enabled, int* dtype) {
  return mmy::guarded([&] {
    auto device = static_cast<at::DeviceType>(device_type);
    *enabled = at::autocast::is_autocast_enabled(device);
    *dtype = static_cast<int>(at::autocast::get_autocast_dtype(device));
  });
}

char* mmy_autocast_set(int device_type, int enabled, int dtype) {
  return mmy::guarded([&] {
    auto device = static_cast<at::DeviceType>(device_type);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(dtype));
    at::autocast::set_autocast_enabled(device, enabled != 0);
  });
}

char* mmy_autocast_enter() {
  return mmy::guarded([] { at::autocast::increment_nesting(); });
}

char* mmy_autocast_leave() {
  return mmy::guarded([] {
    if (at::autocast::decrement_nesting() == 0) {
      at::autocast::clear_cache();
    }
  });
}

int mmy_autocast_set_cache_enabled(int on) {
  int before = at::autocast::is_autocast_cache_enabled();
  at::autocast::set_autocast_cache_enabled(on != 0);
  return before;
}

} // extern "C"
