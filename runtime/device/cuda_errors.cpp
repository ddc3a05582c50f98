// CUDA's error codes as kinds and sentences.
#include "runtime/device/cuda_errors.h"

#include <fmt/format.h>

namespace flashtune {

ErrorKind kind_of_cuda_error(int code) {
  switch (code) {
    case 2: return ErrorKind::kOutOfMemory;
    case 214:  // uncorrectable ECC error
    case 220:  // uncorrectable NVLink error
    case 226:  // contained hardware error
    case 700:  // illegal address
    case 702:  // launch timeout
    case 709:  // the context was destroyed
    case 710:  // assert
    case 714:  // hardware stack error
    case 715:  // illegal instruction
    case 716:  // misaligned address
    case 717:  // invalid address space
    case 718:  // invalid program counter
    case 719:  // launch failed
    case 721:  // tensor memory leak
    case 911:  // error of an external device
      return ErrorKind::kDeviceLost;
    default: return ErrorKind::kDevice;
  }
}

std::string cuda_version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

std::string why_cuda_does_not_start(int code, const std::string& name_of_code) {
  switch (code) {
    case 34:
      return "the libcuda.so.1 that was found is the toolkit's stub, not a driver: install NVIDIA's driver, or take "
             "the "
             "stubs folder out of LD_LIBRARY_PATH";
    case 100: return "the driver sees no GPU: see what `nvidia-smi -L` lists and whether CUDA_VISIBLE_DEVICES hides it";
    case 802: return "the GPUs are not ready yet: on an NVSwitch system nvidia-fabricmanager must run";
    case 803:
      return "the driver's library and its kernel module are of different versions: restart the machine (or, in a "
             "container, use the host's libcuda.so.1)";
    case 804:
      return "the forward-compatibility libcuda.so.1 does not work on this GPU: take the compat folder out of "
             "LD_LIBRARY_PATH, or update the driver";
    default:
      return fmt::format("the driver does not start: cuInit answers {} ({}); see whether `nvidia-smi` works", code,
                         name_of_code);
  }
}

std::string why_driver_is_missing(const std::string& library, const std::string& loader_words) {
  return fmt::format(
      "no NVIDIA driver: {} cannot be opened ({}). Install NVIDIA's driver; in a container, start it with "
      "the GPUs (--gpus all)",
      library, loader_words);
}

std::string why_driver_is_too_old(int cuda_version) {
  return fmt::format(
      "the driver is too old: it runs CUDA {}, and {} or newer is needed. Update NVIDIA's driver to 525.60 "
      "or newer",
      cuda_version > 0 ? cuda_version_text(cuda_version) : "of an unknown version",
      cuda_version_text(kOldestCudaVersion));
}

}  // namespace flashtune
