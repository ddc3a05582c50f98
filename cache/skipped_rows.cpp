// Counts of rows, in words.
#include "cache/skipped_rows.h"

#include <fmt/format.h>

namespace flashtune {

std::string text_of(const SkippedRows& skipped) {
  std::string text;
  if (skipped.damaged > 0) text = fmt::format("{} damaged", skipped.damaged);
  if (skipped.newer > 0) text += fmt::format("{}{} of a newer flashtune", text.empty() ? "" : ", ", skipped.newer);
  return text.empty() ? "none" : text;
}

std::string remark_on(const SkippedRows& skipped, const std::string& path) {
  const bool one = skipped.total() == 1;
  return fmt::format("{}: {} row{} passed over ({}); flashtune db check lists {}", path, skipped.total(),
                     one ? " was" : "s were", text_of(skipped), one ? "it" : "them");
}

}  // namespace flashtune
