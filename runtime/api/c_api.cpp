// The C API: values translated, exceptions turned into statuses, everything else in the engine.
#include "runtime/api/c_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>

#include "cache/codec.h"
#include "cache/cubin_store.h"
#include "cache/database.h"
#include "cache/error.h"
#include "cache/last_resort.h"
#include "cache/standard_error.h"
#include "flashtune/shared/fields.h"
#include "runtime/api/struct_size.h"
#include "runtime/device/cuda_device.h"
#include "runtime/dispatch/missed.h"
#include "runtime/launch/softmax_scale.h"
#include "runtime/launch/tensors.h"

namespace flashtune {
namespace {

// The C enums are the project's own, value by value.
static_assert(FT_PREFILL == static_cast<int>(Op::kPrefill) && FT_DECODE == static_cast<int>(Op::kDecode) &&
              FT_APPEND == static_cast<int>(Op::kAppend));
static_assert(FT_ROPE_NONE == static_cast<int>(Rope::kNone) &&
              FT_ROPE_HALF_SPLIT == static_cast<int>(Rope::kHalfSplit) &&
              FT_ROPE_INTERLEAVED == static_cast<int>(Rope::kInterleaved));
static_assert(FT_FP16 == static_cast<int>(Dtype::kFp16) && FT_BF16 == static_cast<int>(Dtype::kBf16) &&
              FT_FP32 == static_cast<int>(Dtype::kFp32));
static_assert(FT_IEEE == static_cast<int>(Precision::kIeee) && FT_TF32X3 == static_cast<int>(Precision::kTf32x3) &&
              FT_TF32 == static_cast<int>(Precision::kTf32));
static_assert(FT_BSHD == static_cast<int>(Layout::kBshd) && FT_BHSD == static_cast<int>(Layout::kBhsd) &&
              FT_PACKED == static_cast<int>(Layout::kPacked));
static_assert(FT_MEASURED == static_cast<int>(Grade::kMeasured) && FT_NEAREST == static_cast<int>(Grade::kNearest) &&
              FT_STALE == static_cast<int>(Grade::kStale) && FT_OTHER_DEVICE == static_cast<int>(Grade::kOtherDevice) &&
              FT_MODELLED == static_cast<int>(Grade::kModelled) && FT_DEFAULT == static_cast<int>(Grade::kDefault));

thread_local std::string last_error;

ft_status status_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument: return FT_INVALID_ARGUMENT;
    case ErrorKind::kNotFound: return FT_NOT_FOUND;
    case ErrorKind::kIo: return FT_IO;
    case ErrorKind::kCompile: return FT_COMPILE;
    case ErrorKind::kDevice: return FT_DEVICE;
    case ErrorKind::kDeviceLost: return FT_DEVICE_LOST;
    case ErrorKind::kOutOfMemory: return FT_OUT_OF_MEMORY;
    case ErrorKind::kInternal: break;
  }
  return FT_INTERNAL;
}

ft_status failed(ft_status status, const char* what) noexcept {
  try {
    last_error = what;
  } catch (const std::bad_alloc&) {
    last_error.clear();  // no memory is left to say so
  }
  return status;
}

/// Runs `body`; no exception leaves the library.
template <class Body>
ft_status guarded(Body&& body) noexcept {
  try {
    body();
    return FT_OK;
  } catch (const Error& error) {
    return failed(status_of(error.kind()), error.what());
  } catch (const std::bad_alloc&) {
    return failed(FT_INTERNAL, "the host is out of memory");
  } catch (const std::exception& error) {
    return failed(FT_INTERNAL, text_of(error).c_str());
  } catch (...) {
    return failed(FT_INTERNAL, "an exception of unknown type");
  }
}

template <class T>
T& require(T* pointer, const char* name) {
  if (pointer == nullptr) throw Error(ErrorKind::kInvalidArgument, fmt::format("{} is a null pointer", name));
  return *pointer;
}

template <class Enum>
Enum enum_of(int value, const char* what) {
  const Enum result = static_cast<Enum>(value);
  if (value < 0 || name_of(result) == nullptr)
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("{} {} is unknown; the known ones are {}", what, value, enum_names<Enum>()));
  return result;
}

Strides strides_of(const ft_strides& s) { return {s.batch, s.head, s.row}; }

Problem problem_of(const ft_problem& p) {
  Problem problem;
  visit_problems(
      [](const auto& field, auto& value, const auto& c_value) {
        using T = std::remove_reference_t<decltype(value)>;
        if constexpr (std::is_enum_v<T>)
          value = enum_of<T>(c_value, field.name);
        else
          value = static_cast<T>(c_value);
      },
      problem, p);
  visit_strides([](const char*, Strides& to, const ft_strides& from) { to = strides_of(from); }, problem, p);
  return problem;
}

Problem problem_of(const ft_problem* given) { return problem_of(read_struct(require(given, "problem"), "problem")); }

void copy_strides(const Problem& problem, ft_problem& out) {
  visit_strides(
      [](const char*, ft_strides& to, const Strides& from) {
        to = {from.batch, from.head, from.row};
      },
      out, problem);
}

DevicePtr address_of(const void* ptr) { return reinterpret_cast<DevicePtr>(ptr); }

Tensors tensors_of(const ft_tensors* given, const Problem& problem) {
  const ft_tensors t = read_struct(require(given, "tensors"), "tensors");
  const float scale = t.scale != 0 ? t.scale : default_scale(problem);
  return {address_of(t.q),       address_of(t.k),          address_of(t.v), address_of(t.o), address_of(t.lse), scale,
          address_of(t.lengths), address_of(t.page_table), t.num_pages,     t.max_pages,     t.capacity};
}

AppendTensors append_tensors_of(const ft_append_tensors* given) {
  const ft_append_tensors t = read_struct(require(given, "tensors"), "tensors");
  AppendTensors a;
  a.k_new = address_of(t.k_new), a.v_new = address_of(t.v_new);
  a.k_new_strides = strides_of(t.k_new_strides), a.v_new_strides = strides_of(t.v_new_strides);
  a.k = address_of(t.k), a.v = address_of(t.v);
  a.lengths = address_of(t.lengths), a.page_table = address_of(t.page_table);
  a.num_pages = t.num_pages, a.max_pages = t.max_pages, a.capacity = t.capacity;
  a.rope = enum_of<Rope>(t.rope, "rope");
  a.rotary_dim = t.rotary_dim, a.rope_positions = t.rope_positions;
  a.cos = address_of(t.cos), a.sin = address_of(t.sin);
  a.q = address_of(t.q), a.q_out = address_of(t.q_out);
  return a;
}

std::string explanation(const EngineImpl& engine, const Problem& problem) {
  std::string text;
  for (const Consideration& line : engine.explain(problem))
    text += fmt::format("{} {:<12}  {}\n", line.chosen ? '*' : ' ', name_of(line.grade), line.why);
  if (const SkippedRows skipped = engine.skipped_rows(); skipped.any())
    text += fmt::format("  {} rows of the databases were passed over ({})\n", skipped.total(), text_of(skipped));
  return text;
}

/// Copies what fits, always with the final 0.
void copy_text(const std::string& text, char* buffer, std::size_t size) {
  if (size == 0) return;
  const std::size_t count = std::min(size - 1, text.size());
  std::memcpy(buffer, text.data(), count);
  buffer[count] = '\0';
}

/// An option's path: what is given, nothing for "", else the default. A service may have no home, and then no default.
template <class Default>
std::optional<std::filesystem::path> path_of(const char* given, Default&& otherwise) {
  if (given == nullptr) return otherwise();
  if (*given == '\0') return std::nullopt;
  return std::filesystem::path(given);
}

}  // namespace

EngineOptions resolve_options(const ft_options& given, const std::function<const char*(const char*)>& environment) {
  EngineOptions options;
  options.database = path_of(given.database, [&] {
    return default_database_path(environment("FLASHTUNE_DB"), environment("XDG_DATA_HOME"), environment("HOME"));
  });
  const auto none = [] { return std::optional<std::filesystem::path>(); };
  options.shipped_database = path_of(given.shipped_database, none);
  options.compiler.cubin_folder = path_of(
      given.cubin_folder, [&] { return default_cubin_folder(environment("XDG_CACHE_HOME"), environment("HOME")); });
  options.compiler.cubin_limit = cubin_limit_of(environment("FLASHTUNE_CUBIN_LIMIT"));
  options.compiler.template_root = path_of(given.template_root, none);
  if (given.nvrtc != nullptr && *given.nvrtc != '\0') options.compiler.nvrtc_hints.emplace_back(given.nvrtc);
  if (given.nvrtc == nullptr)
    for (const char* name : {"CUDA_HOME", "CUDA_PATH"})
      if (const char* folder = environment(name); folder != nullptr && *folder != '\0')
        options.compiler.nvrtc_hints.emplace_back(folder);
  constexpr int kLongestChunk = 1 << 24;
  if (given.pinned_chunk < 0 || given.pinned_chunk > kLongestChunk)
    throw Error(ErrorKind::kInvalidArgument, fmt::format("pinned_chunk is {}: it is a number of keys up to {}, or 0",
                                                         given.pinned_chunk, kLongestChunk));
  options.pinned_chunk = given.pinned_chunk;
  options.debug_checks = given.debug_checks != 0;
  if (given.warn != nullptr)
    options.warn = [warn = given.warn, data = given.warn_data](const std::string& line) { warn(line.c_str(), data); };
  else
    options.warn = [](const std::string& line) { write_to_standard_error(line + "\n"); };
  return options;
}

ft_engine* make_engine_handle(std::unique_ptr<Device> device, EngineOptions options) {
  return new ft_engine{EngineImpl(std::move(device), std::move(options))};
}

}  // namespace flashtune

using namespace flashtune;

const char* ft_version(void) { return FLASHTUNE_VERSION; }

const char* ft_status_text(ft_status status) {
  switch (status) {
    case FT_OK: return "ok";
    case FT_INVALID_ARGUMENT: return "invalid argument";
    case FT_NOT_FOUND: return "not found";
    case FT_IO: return "file error";
    case FT_COMPILE: return "compile error";
    case FT_DEVICE: return "device error";
    case FT_DEVICE_LOST: return "device lost";
    case FT_OUT_OF_MEMORY: return "out of device memory";
    case FT_INTERNAL: return "internal error";
  }
  return "unknown status";
}

const char* ft_grade_text(ft_grade grade) {
  const char* name = name_of(static_cast<Grade>(grade));
  return name != nullptr ? name : "unknown grade";
}

const char* ft_last_error(void) { return last_error.c_str(); }

void ft_problem_init_sized(ft_problem* problem, size_t size, ft_dtype dtype, int32_t batch, int32_t heads,
                           int32_t kv_heads, int32_t seq_q, int32_t seq_kv, int32_t head_dim) {
  if (problem == nullptr) return;
  Problem p;
  p.dtype = static_cast<Dtype>(dtype);  // whatever it is: who uses the problem judges it
  p.precision = usual_precision(p.dtype);
  p.batch = batch, p.heads = heads, p.kv_heads = kv_heads;
  p.seq_q = seq_q, p.seq_kv = seq_kv;
  p.head_dim = p.head_dim_v = head_dim;
  ft_problem begun{};
  begun.size = sizeof(begun);
  visit_problems([](const auto&, int32_t& to, const auto& from) { to = static_cast<int32_t>(from); }, begun, p);
  ft_problem_set_layout(&begun, FT_BSHD);
  begun.size = static_cast<uint32_t>(size);
  // The program's struct may be an older one, or a newer one, which other functions then refuse.
  std::memset(static_cast<void*>(problem), 0, size);
  std::memcpy(static_cast<void*>(problem), &begun, std::min(size, sizeof(begun)));
}

ft_status ft_problem_set_layout(ft_problem* problem, int layout) {
  return guarded([&] {
    const Layout known = enum_of<Layout>(layout, "layout");
    if (known == Layout::kStrided)
      throw Error(ErrorKind::kInvalidArgument, "layout strided has no strides of its own; set them in the problem");
    const Problem asked = problem_of(problem);
    if (known == Layout::kPacked && !fits_packed(asked))
      throw Error(ErrorKind::kInvalidArgument,
                  fmt::format("layout packed: {}, not op {} with seq_q {} and seq_kv {}; there are FT_BSHD and FT_BHSD",
                              kPackedFits, name_of(asked.op), asked.seq_q, asked.seq_kv));
    copy_strides(with_layout(asked, known), *problem);  // into fields that every version has
  });
}

int ft_supported(const ft_problem* problem, const char** reason) {
  ProblemFault fault = ProblemFault::kNone;
  const ft_status status = guarded([&] { fault = fault_of(problem_of(problem)); });
  if (reason != nullptr) *reason = status == FT_OK ? text_of(fault) : last_error.c_str();
  return status == FT_OK && fault == ProblemFault::kNone ? 1 : 0;
}

ft_status ft_engine_create(const ft_options* options, ft_engine** engine) {
  return guarded([&] {
    require(engine, "engine") = nullptr;
    const ft_options usual = FT_OPTIONS_INIT;
    const ft_options chosen = options != nullptr ? read_struct(*options, "options") : usual;
    EngineOptions resolved = resolve_options(chosen, [](const char* name) { return std::getenv(name); });
    *engine = make_engine_handle(open_cuda_device(chosen.device), std::move(resolved));
  });
}

void ft_engine_destroy(ft_engine* engine) { delete engine; }

ft_status ft_workspace_bytes(ft_engine* engine, const ft_problem* problem, size_t* bytes) {
  return guarded(
      [&] { require(bytes, "bytes") = require(engine, "engine").impl.workspace_bytes(problem_of(problem)); });
}

ft_status ft_prepare(ft_engine* engine, const ft_problem* problems, size_t count) {
  return guarded([&] {
    if (count > 0) require(problems, "problem");
    std::vector<Problem> list;
    for (const ft_problem& problem : read_structs(problems, count, "problems")) list.push_back(problem_of(problem));
    require(engine, "engine").impl.prepare(list);
  });
}

ft_status ft_forward(ft_engine* engine, const ft_problem* problem, const ft_tensors* tensors, void* workspace,
                     void* stream) {
  return guarded([&] {
    const Problem asked = problem_of(problem);
    require(engine, "engine").impl.forward(asked, tensors_of(tensors, asked), address_of(workspace), stream);
  });
}

ft_status ft_append(ft_engine* engine, const ft_problem* problem, const ft_append_tensors* tensors, void* workspace,
                    void* stream) {
  return guarded([&] {
    require(engine, "engine")
        .impl.append(problem_of(problem), append_tensors_of(tensors), address_of(workspace), stream);
  });
}

ft_status ft_decide(ft_engine* engine, const ft_problem* problem, ft_decision* decision) {
  return guarded([&] {
    ft_decision& out = require_sized(require(decision, "decision"), "decision");  // its fields are in every version
    const Decision decided = require(engine, "engine").impl.decide(problem_of(problem));
    out.grade = static_cast<ft_grade>(decided.grade);
    out.expected_us = decided.expected_us;
  });
}

ft_status ft_config_text(ft_engine* engine, const ft_problem* problem, char* buffer, size_t size, size_t* length) {
  return guarded([&] {
    if (size > 0) require(buffer, "buffer");
    const Decision decided = require(engine, "engine").impl.decide(problem_of(problem));
    const std::string text = candidate_to_text(decided.candidate);
    copy_text(text, buffer, size);
    if (length != nullptr) *length = text.size();
  });
}

ft_status ft_explain(ft_engine* engine, const ft_problem* problem, char* buffer, size_t size, size_t* length) {
  return guarded([&] {
    if (size > 0) require(buffer, "buffer");
    const std::string text = explanation(require(engine, "engine").impl, problem_of(problem));
    copy_text(text, buffer, size);
    if (length != nullptr) *length = text.size();
  });
}

ft_status ft_write_missed(ft_engine* engine, const char* path, size_t* count) {
  return guarded([&] {
    EngineImpl& impl = require(engine, "engine").impl;
    const std::vector<Problem> missed = impl.dispatcher().missed();
    write_missed(&require(path, "path"), impl.device().info().key, missed);
    if (count != nullptr) *count = missed.size();
  });
}

ft_status ft_allocate(ft_engine* engine, size_t bytes, void** ptr) {
  return guarded([&] {
    require(ptr, "ptr") = nullptr;
    Device& device = require(engine, "engine").impl.device();
    const std::size_t words = bytes / 4 + (bytes % 4 != 0 ? 1 : 0);
    if (words > SIZE_MAX / 4)
      throw Error(ErrorKind::kOutOfMemory, fmt::format("{} bytes are more than any device has", bytes));
    const DevicePtr memory = device.allocate(words * 4);
    try {
      device.fill(memory, 0, words * 4);
    } catch (...) {
      device.free(memory);
      throw;
    }
    *ptr = reinterpret_cast<void*>(memory);
  });
}

void ft_free(ft_engine* engine, void* ptr) {
  if (engine != nullptr && ptr != nullptr) engine->impl.device().free(address_of(ptr));
}

ft_status ft_copy_in(ft_engine* engine, void* device_to, const void* host_from, size_t bytes) {
  return guarded([&] { require(engine, "engine").impl.device().copy_in(address_of(device_to), host_from, bytes); });
}

ft_status ft_copy_out(ft_engine* engine, void* host_to, const void* device_from, size_t bytes) {
  return guarded([&] { require(engine, "engine").impl.device().copy_out(host_to, address_of(device_from), bytes); });
}

ft_status ft_synchronize(ft_engine* engine) {
  return guarded([&] { require(engine, "engine").impl.device().synchronize(); });
}
