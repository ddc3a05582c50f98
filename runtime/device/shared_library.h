// A library that is opened at run time: the driver, NVRTC, NVML.
#pragma once

#include <dlfcn.h>

#include <string>

namespace flashtune {

/// Stays open for ever: CUDA's libraries start threads and register exit handlers, and do not survive being unloaded.
class SharedLibrary {
 public:
  SharedLibrary() = default;
  /// A path, or a name for the loader. When it cannot be opened, why() holds the loader's words.
  explicit SharedLibrary(const std::string& name) : handle_(dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) {
      const char* words = dlerror();
      why_ = words != nullptr ? words : "unknown reason";
    }
  }

  explicit operator bool() const { return handle_ != nullptr; }
  const std::string& why() const { return why_; }

  /// Points `function` at a symbol; false, and nullptr, when the library has none of that name.
  template <class F>
  bool bind(F*& function, const char* symbol) const {
    function = reinterpret_cast<F*>(handle_ != nullptr ? dlsym(handle_, symbol) : nullptr);
    return function != nullptr;
  }

 private:
  void* handle_ = nullptr;
  std::string why_;
};

}  // namespace flashtune
