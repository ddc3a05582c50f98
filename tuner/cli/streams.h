// The standard streams of the command: output whose loss is noticed, remarks whose loss does not matter, descriptors
// that are there.
#pragma once

#include <string>

namespace flashtune {

/// Standard output cannot be written. Thrown once, and not as a std::exception: nobody on the way may take it for what
/// goes wrong with a candidate or a record.
struct OutputLost {
  int error = 0;  // errno
  /// Whoever read has read enough, or is gone: "query | head -1".
  bool nobody_reads() const;
  /// "standard output could not be written: No space left on device".
  std::string text() const;
};

/// Gives the descriptors 0 to 2 that the caller closed to the null device, so that no file that is opened later gets
/// them. Using them still fails as it does for closed ones: each is opened for the other direction.
void secure_standard_streams();

/// Prints to standard output. Throws OutputLost, at the latest when the output is finished.
void print(const std::string& text);
/// print(), and at once: for what is watched as it comes.
void print_now(const std::string& text);
/// All that was printed is written, or OutputLost is thrown.
void flush_output();
/// Flushes and closes, whatever became of it before: some disks tell only then. The last thing a program does.
void finish_output();

/// A line for people on standard error, after what was printed before it.
void remark(const std::string& text);

}  // namespace flashtune
