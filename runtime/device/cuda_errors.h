// CUDA's error codes as kinds and sentences. Numbers, not cuda.h, so that it can be tested and used without it.
#pragma once

#include <string>

#include "cache/error.h"

namespace flashtune {

constexpr int kOldestCudaVersion = 12000;  // of a driver: 12.0, which is 525.60 or newer

/// kOutOfMemory; kDeviceLost for those after which every further call in the context fails; else kDevice.
ErrorKind kind_of_cuda_error(int code);

/// "13.0" of 13000.
std::string cuda_version_text(int version);

/// Why there is no GPU, with what to do about it. `code` is cuInit's.
std::string why_cuda_does_not_start(int code, const std::string& name_of_code);
std::string why_driver_is_missing(const std::string& library, const std::string& loader_words);
std::string why_driver_is_too_old(int cuda_version);

}  // namespace flashtune
