# Run by EmbedFile.cmake: writes OUTPUT, which defines SYMBOL with the bytes of INPUT.
file(READ ${INPUT} text HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${text}")
file(WRITE ${OUTPUT} "// Generated; do not edit.
namespace flashtune {
extern const char ${SYMBOL}[];
const char ${SYMBOL}[] = {${bytes}0};
}  // namespace flashtune
")
