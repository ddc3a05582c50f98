// dlopen from memory.
#include "sim/loaded_library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "cache/error.h"
#include "sim/core/instructions.h"

namespace flashtune::sim {

LoadedLibrary::LoadedLibrary(const std::string& bytes, const std::string& entry, unsigned smem_bytes)
    : file_("flashtune-kernel", bytes), smem_bytes_(smem_bytes) {
  library_ = dlopen(file_.path().c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr)
    throw Error(ErrorKind::kDevice, fmt::format("the simulated device cannot load this kernel ({}): compile it for "
                                                "the simulated device, not for a GPU",
                                                dlerror()));
  kernel_ = static_cast<const Kernel*>(dlsym(library_, "flashtune_sim_kernel"));
  const bool fits = kernel_ != nullptr && kernel_->version == kKernelVersion && entry == kernel_->entry;
  if (!fits) {
    dlclose(library_);
    throw Error(ErrorKind::kDevice,
                fmt::format("the library holds no kernel {} of this version of the simulated device", entry));
  }
  kernel_->bind(&kCalls);
}

LoadedLibrary::~LoadedLibrary() { dlclose(library_); }

}  // namespace flashtune::sim
