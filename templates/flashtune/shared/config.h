// What is tuned: one struct per family. A config may change speed, never results (but for rounding). Codec, space and
// source generation all go through visit_fields, which calls f(name, field) for each field in the order of the struct;
// compiled_part is the part of a config that the compiler sees: configs that differ elsewhere share a cubin.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

#include "flashtune/shared/decode_config.h"
#include "flashtune/shared/fp32_config.h"
#include "flashtune/shared/prefill_config.h"
