# Run by EmbedTemplates.cmake: writes OUTPUT, a table of (logical path, text) of every template below ROOT.
file(GLOB_RECURSE templates RELATIVE ${ROOT} ${ROOT}/flashtune/*.h ${ROOT}/flashtune/*.cuh)
list(SORT templates)
set(rows "")
set(arrays "")
set(index 0)
foreach(template IN LISTS templates)
  file(READ ${ROOT}/${template} text HEX)
  # Bytes, not a raw string: compilers limit the length of a literal, and no text can end it early.
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${text}")
  string(APPEND arrays "constexpr unsigned char kText${index}[] = {${bytes}0};\n")
  string(APPEND rows "    {\"${template}\", kText${index}, sizeof(kText${index}) - 1},\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE ${OUTPUT}.new "// Generated from templates/flashtune; do not edit.
#include \"runtime/jit/embedded.h\"

namespace flashtune {
namespace {
${arrays}}  // namespace

const EmbeddedFile kEmbeddedTemplates[] = {
${rows}};
const unsigned long kEmbeddedTemplateCount = sizeof(kEmbeddedTemplates) / sizeof(kEmbeddedTemplates[0]);
}  // namespace flashtune
")
file(COPY_FILE ${OUTPUT}.new ${OUTPUT} ONLY_IF_DIFFERENT)
