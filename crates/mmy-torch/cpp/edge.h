// What every entry of the edge shares: no C++ exception leaves it.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cstddef>
#include <exception>
#include <vector>

namespace mmy {

// A copy of `text` that Rust frees with `mmy_message_free`; never null.
char* message(const char* text) noexcept;

// Runs `body`. Returns null, or what was thrown as a message.
template <class Body>
char* guarded(Body&& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const c10::Error& error) {
    return message(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return message(error.what());
  } catch (...) {
    return message("unknown C++ exception");
  }
}

// Shallow copies of `count` tensors; a null pointer stands for an undefined tensor.
inline std::vector<at::Tensor> list(at::Tensor* const* tensors, size_t count) {
  std::vector<at::Tensor> result;
  result.reserve(count);
  for (size_t i = 0; i < count; i++) {
    result.push_back(tensors[i] ? *tensors[i] : at::Tensor());
  }
  return result;
}

} // namespace mmy
