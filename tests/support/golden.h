// Texts held to the letter: tests/golden/expected/NAME. A golden test started with --update rewrites them instead.
#pragma once

#include <string>

namespace flashtune {

/// Whether this program was started with --update: what tests hold is then written anew.
bool updating();

/// Fails the running test, showing both texts, unless `text` is what tests/golden/expected/`name` holds.
void expect_golden(const std::string& name, const std::string& text);

}  // namespace flashtune
