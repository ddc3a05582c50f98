// flashtune's C++ API: a header-only wrapper of flashtune.h, whose conventions hold. Handles that release themselves,
// and exceptions in place of statuses.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "flashtune/flashtune.h"

namespace flashtune {
inline namespace api {

/// What a call that failed throws: what() is the sentence for people, status() its kind.
class Failure : public std::runtime_error {
 public:
  Failure(ft_status status, const std::string& what) : std::runtime_error(what), status_(status) {}
  ft_status status() const noexcept { return status_; }

 private:
  ft_status status_;
};

/// Throws Failure with the thread's last error unless `status` is FT_OK.
inline void require_ok(ft_status status) {
  if (status != FT_OK) throw Failure(status, ft_last_error());
}

/// A prefill problem in a named layout. Sizes that are changed later want ft_problem_set_layout() again.
inline ft_problem make_problem(ft_dtype dtype, int batch, int heads, int kv_heads, int seq_q, int seq_kv, int head_dim,
                               bool causal = false, ft_layout layout = FT_BSHD) {
  ft_problem problem;
  ft_problem_init(&problem, dtype, batch, heads, kv_heads, seq_q, seq_kv, head_dim);
  problem.causal = causal ? 1 : 0;
  require_ok(ft_problem_set_layout(&problem, layout));
  return problem;
}

/// Empty when some kernel computes the problem, else why none does.
inline std::string why_unsupported(const ft_problem& problem) {
  const char* reason = "";
  return ft_supported(&problem, &reason) != 0 ? std::string() : std::string(reason);
}

inline ft_options default_options() {
  ft_options options = FT_OPTIONS_INIT;
  return options;
}

/// An engine on one GPU. Movable; thread-safe but for moves and destruction.
class Engine {
 public:
  explicit Engine(const ft_options& options = default_options()) {
    ft_engine* engine = nullptr;
    require_ok(ft_engine_create(&options, &engine));
    engine_.reset(engine);
  }
  /// Takes an engine that the C API made.
  explicit Engine(ft_engine* engine) : engine_(engine) {}

  ft_engine* get() const { return engine_.get(); }

  ft_decision decide(const ft_problem& problem) const {
    ft_decision decision = FT_DECISION_INIT;
    require_ok(ft_decide(get(), &problem, &decision));
    return decision;
  }

  /// The kernel and the config that answer.
  std::string config_text(const ft_problem& problem) const { return text_of(ft_config_text, problem); }

  std::string explain(const ft_problem& problem) const { return text_of(ft_explain, problem); }

  /// What was asked for and is not measured, for `flashtune sweep --missed`; how many problems that are.
  std::size_t write_missed(const std::string& path) const {
    std::size_t count = 0;
    require_ok(ft_write_missed(get(), path.c_str(), &count));
    return count;
  }

  std::size_t workspace_bytes(const ft_problem& problem) const {
    std::size_t bytes = 0;
    require_ok(ft_workspace_bytes(get(), &problem, &bytes));
    return bytes;
  }

  void prepare(const std::vector<ft_problem>& problems) {
    require_ok(ft_prepare(get(), problems.data(), problems.size()));
  }

  /// workspace: nullptr where workspace_bytes(problem) is 0. In the order of ft_forward(), like append().
  void forward(const ft_problem& problem, const ft_tensors& tensors, void* workspace, void* stream = nullptr) {
    require_ok(ft_forward(get(), &problem, &tensors, workspace, stream));
  }

  /// The new rows of a decode into its cache; the problem and the workspace are the decode's.
  void append(const ft_problem& problem, const ft_append_tensors& tensors, void* workspace, void* stream = nullptr) {
    require_ok(ft_append(get(), &problem, &tensors, workspace, stream));
  }

  void synchronize() { require_ok(ft_synchronize(get())); }

 private:
  using Writer = ft_status (*)(ft_engine*, const ft_problem*, char*, std::size_t, std::size_t*);
  std::string text_of(Writer write, const ft_problem& problem) const {
    std::size_t length = 0;
    require_ok(write(get(), &problem, nullptr, 0, &length));
    std::string text(length + 1, '\0');  // the answers of an engine do not change, so the second call fits
    require_ok(write(get(), &problem, text.data(), text.size(), nullptr));
    text.resize(length);
    return text;
  }

  struct Destroy {
    void operator()(ft_engine* engine) const noexcept { ft_engine_destroy(engine); }
  };
  std::unique_ptr<ft_engine, Destroy> engine_;
};

/// Device memory of an engine, freed when it goes; the engine must outlive it.
class Memory {
 public:
  Memory(Engine& engine, std::size_t bytes) : engine_(engine.get()), bytes_(bytes) {
    require_ok(ft_allocate(engine_, bytes, &ptr_));
  }
  Memory(Memory&& other) noexcept
      : engine_(other.engine_), ptr_(std::exchange(other.ptr_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Memory& operator=(Memory&& other) noexcept {
    std::swap(engine_, other.engine_);
    std::swap(ptr_, other.ptr_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Memory() { ft_free(engine_, ptr_); }

  void* get() const { return ptr_; }
  std::size_t size() const { return bytes_; }
  /// Where element `element` lies, of a T each.
  template <class T>
  T* at(std::size_t element) const {
    return static_cast<T*>(ptr_) + element;
  }
  void copy_in(const void* host_from) { require_ok(ft_copy_in(engine_, ptr_, host_from, bytes_)); }
  void copy_out(void* host_to) const { require_ok(ft_copy_out(engine_, host_to, ptr_, bytes_)); }

 private:
  ft_engine* engine_;
  void* ptr_ = nullptr;
  std::size_t bytes_;
};

/// Device memory with a copy of the host's elements.
template <class T>
Memory on_device(Engine& engine, const std::vector<T>& host) {
  Memory memory(engine, host.size() * sizeof(T));
  memory.copy_in(host.data());
  return memory;
}

}  // namespace api
}  // namespace flashtune
