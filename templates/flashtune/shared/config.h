// What is tuned: one struct per family. A config may change speed, never results (but for rounding). Codec, space and
// source generation all go through the fields that a config names, with what each of them is (roles.h).
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

#include "flashtune/shared/decode_config.h"
#include "flashtune/shared/fp32_config.h"
#include "flashtune/shared/prefill_config.h"
