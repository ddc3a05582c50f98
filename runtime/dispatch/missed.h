// The problems that a program asked for and that nobody measured, as a file: what `flashtune sweep --missed` reads.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cache/records.h"

namespace flashtune {

/// A comment that says which device missed them, then one problem_to_text on each line. A sweep lays tensors out by
/// the name of a layout. So problems with other strides stand there as bshd, and later get that answer as their
/// nearest. Each problem stands there once.
std::string missed_text(const DeviceKey& device, const std::vector<Problem>& problems);

/// Writes missed_text(), by the rules of write_named_output(): a file is replaced as a whole or left as it was, and
/// Error(kIo) says why.
void write_missed(const std::filesystem::path& path, const DeviceKey& device, const std::vector<Problem>& problems);

}  // namespace flashtune
