// Draws the progress of a sweep.
#include "tuner/cli/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "cache/standard_error.h"
#include "tuner/cli/streams.h"
#include "tuner/report/report.h"

namespace flashtune {
namespace {

int terminal_columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

double seconds_between(std::chrono::steady_clock::time_point from, std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

std::string remaining_text(double seconds) {
  if (!(seconds >= 0) || seconds > 1e6) return "";
  const long whole = std::lround(std::ceil(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string bar_text(const std::string& label, const Progress& progress, double seconds_left, int columns) {
  constexpr int kBar = 20;
  const double part = progress.total > 0 ? std::clamp(1.0 * progress.done / progress.total, 0.0, 1.0) : 0.0;
  const int full = static_cast<int>(part * kBar);
  const std::string left = remaining_text(seconds_left);
  std::string text = fmt::format("[{}{}] {} {}/{}{}  {}", std::string(static_cast<std::size_t>(full), '#'),
                                 std::string(static_cast<std::size_t>(kBar - full), '.'), progress.stage, progress.done,
                                 progress.total, left.empty() ? "" : "  ETA " + left, label);
  if (text.size() >= static_cast<std::size_t>(columns)) text.resize(static_cast<std::size_t>(std::max(columns - 1, 0)));
  return text;
}

void ProgressDisplay::show(const ProblemStarted& started) {
  clear();
  index_ = started.index;
  count_ = started.count;
  label_ = fmt::format("[{}/{}] {}", started.index + 1, started.count, short_problem(started.problem));
  stage_.clear();
  remark(fmt::format("{}: {} candidates of {} admitted{}", label_, started.admitted, started.enumerated,
                     started.known > 0 ? fmt::format(", {} known", started.known) : ""));
}

void ProgressDisplay::show(const Progress& progress) {
  const auto now = Clock::now();
  if (progress.stage != stage_) {
    stage_ = progress.stage;
    stage_begun_ = now;
    drawn_ = {};
    if (!terminal_) remark(fmt::format("  {} ({})", stage_, progress.total));
  }
  if (!terminal_ || (bar_shown_ && seconds_between(drawn_, now) < 0.1)) return;  // more is a flicker
  drawn_ = now;
  bar_shown_ = true;
  write_to_standard_error("\r\033[K" + bar_text(label_, progress, seconds_left(progress), terminal_columns()));
}

void ProgressDisplay::finish(const ProblemDone&) {
  clear();
  ++finished_;
}

void ProgressDisplay::clear() {
  if (bar_shown_) write_to_standard_error("\r\033[K");
  bar_shown_ = false;
}

/// The stage's own pace for what is left of it, and the mean of the finished problems for those to come.
double ProgressDisplay::seconds_left(const Progress& progress) const {
  const auto now = Clock::now();
  if (progress.done <= 0) return -1;
  const double stage = seconds_between(stage_begun_, now) / progress.done * (progress.total - progress.done);
  const double problem =
      finished_ > 0 ? seconds_between(begun_, now) / finished_ : seconds_between(begun_, now) + stage;
  return stage + problem * std::max(count_ - index_ - 1, 0);
}

}  // namespace flashtune
