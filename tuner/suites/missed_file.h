// The problems that a program asked for and nobody measured, as ft_write_missed() leaves them for a sweep.
#pragma once

#include <string>
#include <vector>

#include "cache/records.h"

namespace flashtune {

/// One problem_to_text on each line; empty lines and those that begin with # are for people. A problem that stands
/// there twice is one. Throws Error(kInvalidArgument) that names `path`, the line and what is wrong with it: no
/// problem, or none that a sweep can measure.
std::vector<Problem> parse_missed(const std::string& text, const std::string& path);
/// The same of a file; one that cannot be read is an Error(kNotFound or kIo).
std::vector<Problem> read_missed_file(const std::string& path);

}  // namespace flashtune
