// Draws the chart: a panel of bars over a panel of lines.
#include "tuner/ladder/ladder_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "tuner/report/report.h"

namespace flashtune {
namespace {

constexpr double kWidth = 960, kLabels = 190, kRight = 200, kRowHeight = 22, kTop = 60, kLinesHeight = 420, kGap = 90;
constexpr std::array kColours = {"#4e79a7", "#f28e2b", "#59a14f", "#e15759",
                                 "#76b7b2", "#edc948", "#b07aa1", "#9c755f"};
constexpr std::array kDashes = {"none", "7 3"};  // where colours come round again

/// Bytes that a launch moved to and from global memory.
double traffic_of(const LadderStep& step) {
  double bytes = 0;
  for (const auto& [name, value] : step.counters)
    if (name.starts_with("global_bytes")) bytes += static_cast<double>(value);
  return bytes;
}

/// What the two panels show of a step.
struct Measure {
  const char *bars, *lines, *unit;
  double (*of_bar)(const LadderStep&);
  double (*of_point)(const LadderStep&);
};
constexpr Measure kTimes = {"TFLOP/s", "time of one launch", "us", [](const LadderStep& s) { return s.tflops(); },
                            [](const LadderStep& s) { return s.timing->median_us; }};
constexpr Measure kTraffic = {"bytes to and from global memory", "bytes to and from global memory", "B", traffic_of,
                              traffic_of};

/// A logarithmic axis from a power of ten (of `base`) to one.
class Axis {
 public:
  Axis(double least, double most, double from, double to, double base) : base_(base), from_(from), to_(to) {
    low_ = std::floor(log(std::max(least, 1e-9)) + 1e-9);
    high_ = std::max(std::ceil(log(std::max(most, 1e-9)) - 1e-9), low_ + 1);
  }
  double at(double value) const { return from_ + (to_ - from_) * (log(value) - low_) / (high_ - low_); }
  std::vector<double> ticks() const {
    std::vector<double> values;
    for (double power = low_; power <= high_; ++power) values.push_back(std::pow(base_, power));
    return values;
  }

 private:
  double log(double value) const { return std::log(value) / std::log(base_); }
  double base_, from_, to_, low_ = 0, high_ = 1;
};

/// 0.1, 10, 1k, 1M.
std::string short_number(double value) {
  constexpr std::array kSuffixes = {"", "k", "M", "G", "T"};
  std::size_t i = 0;
  while (value >= 1000 && i + 1 < kSuffixes.size()) value /= 1000, ++i;
  return fmt::format("{:.3g}{}", value, kSuffixes[i]);
}

std::string text(double x, double y, const char* anchor, const std::string& words, const char* more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y, anchor, more, words);
}
std::string line(double x1, double y1, double x2, double y2, const char* colour) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", x1, y1, x2, y2,
                     colour);
}

constexpr const char* kTitle = " font-weight=\"bold\" font-size=\"14\"";
constexpr const char* kGrid = "#dddddd";

/// The climb on which most rungs ran, the last of several.
const std::vector<LadderStep>& fullest(const std::vector<std::vector<LadderStep>>& climbs) {
  const auto ran = [](const std::vector<LadderStep>& steps) {
    return std::count_if(steps.begin(), steps.end(), [](const LadderStep& s) { return s.ran(); });
  };
  const std::vector<LadderStep>* best = &climbs.front();
  for (const auto& steps : climbs)
    if (ran(steps) >= ran(*best)) best = &steps;
  return *best;
}

std::string bars(const std::vector<LadderStep>& steps, const Measure& measure) {
  std::vector<const LadderStep*> rungs;
  for (const LadderStep& step : steps)
    if (step.ran()) rungs.push_back(&step);
  if (rungs.empty()) return "";
  double least = 1e300, most = 0;
  for (const LadderStep* s : rungs)
    least = std::min(least, measure.of_bar(*s)), most = std::max(most, measure.of_bar(*s));
  const Axis axis(least / 2, most, kLabels, kWidth - kRight / 2, 10);
  const double bottom = kTop + kRowHeight * static_cast<double>(steps.size());
  std::string svg = text(kLabels, kTop - 30, "start",
                         fmt::format("{}: {}", measure.bars, short_problem_of_rungs(rungs.front()->problem)), kTitle);
  for (const double tick : axis.ticks()) {
    svg += line(axis.at(tick), kTop - 8, axis.at(tick), bottom, kGrid);
    svg += text(axis.at(tick), kTop - 12, "middle", short_number(tick));
  }
  double y = kTop;
  for (const LadderStep* s : rungs) {
    const double value = measure.of_bar(*s), end = axis.at(value);
    svg += text(kLabels - 8, y + 15, "end", s->rung);
    svg += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"><title>{}</title></rect>\n",
        kLabels, y + 3, std::max(end - kLabels, 1.0), kRowHeight - 6, kColours[0], s->changed);
    svg += text(end + 5, y + 15, "start", short_number(value));
    y += kRowHeight;
  }
  return svg;
}

std::string lines(const std::vector<std::vector<LadderStep>>& climbs, const Measure& measure, double top) {
  std::map<std::string, std::vector<std::pair<double, double>>> points;
  std::vector<std::string> order;
  double least = 1e300, most = 0, shortest = 1e300, longest = 0;
  for (const auto& steps : climbs)
    for (const LadderStep& s : steps) {
      if (!s.ran()) continue;
      if (points.count(s.rung) == 0) order.push_back(s.rung);
      const double n = s.problem.seq_q, value = measure.of_point(s);
      points[s.rung].emplace_back(n, value);
      least = std::min(least, value), most = std::max(most, value);
      shortest = std::min(shortest, n), longest = std::max(longest, n);
    }
  if (order.empty()) return "";
  const Axis x(shortest, longest, kLabels, kWidth - kRight, 2), y(least, most, top + kLinesHeight, top, 10);
  std::string svg = text(kLabels, top - 14, "start",
                         fmt::format("{} ({}) against sequence length", measure.lines, measure.unit), kTitle);
  for (const double tick : x.ticks()) {
    svg += line(x.at(tick), top, x.at(tick), top + kLinesHeight, kGrid);
    svg += text(x.at(tick), top + kLinesHeight + 18, "middle", fmt::format("{:.0f}", tick));
  }
  for (const double tick : y.ticks()) {
    svg += line(kLabels, y.at(tick), kWidth - kRight, y.at(tick), kGrid);
    svg += text(kLabels - 8, y.at(tick) + 4, "end", short_number(tick));
  }
  for (std::size_t i = 0; i < order.size(); ++i) {
    const char* colour = kColours[i % kColours.size()];
    const char* dash = kDashes[i / kColours.size() % kDashes.size()];
    std::string path;
    for (const auto& [n, value] : points[order[i]]) path += fmt::format("{:.1f},{:.1f} ", x.at(n), y.at(value));
    svg += fmt::format(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\"/>\n", path,
        colour, dash);
    for (const auto& [n, value] : points[order[i]])
      svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n", x.at(n), y.at(value), colour);
    const double at = top + 12 + kRowHeight * static_cast<double>(i);
    svg += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" stroke-width=\"2\" "
        "stroke-dasharray=\"{}\"/>\n",
        kWidth - kRight + 16, at - 4, kWidth - kRight + 40, at - 4, colour, dash);
    svg += text(kWidth - kRight + 46, at, "start", order[i]);
  }
  return svg;
}

}  // namespace

std::string ladder_chart(const std::vector<std::vector<LadderStep>>& climbs) {
  bool timed = false;
  for (const auto& steps : climbs)
    for (const LadderStep& s : steps) timed = timed || s.timing.has_value();
  const Measure& measure = timed ? kTimes : kTraffic;
  const std::vector<LadderStep> none;
  const std::vector<LadderStep>& middle = climbs.empty() ? none : fullest(climbs);
  const double second = kTop + kRowHeight * static_cast<double>(middle.size()) + kGap;
  const double height = second + kLinesHeight + 50;
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
             "height=\"{1:.0f}\" font-family=\"sans-serif\" font-size=\"12\">\n"
             "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
             kWidth, height) +
         bars(middle, measure) + lines(climbs, measure, second) + "</svg>\n";
}

}  // namespace flashtune
