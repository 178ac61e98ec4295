# Writes a source file that holds a file's bytes, so that the binary needs no data folder:
#   cmake -DINPUT=FILE -DOUTPUT=FILE.cpp -DHEADER=launch/data/readers/x.h -DFUNCTION=name -P embed.cmake
file(READ "${INPUT}" bytes HEX)
# 32 bytes a line: some compilers and editors choke on one line of a megabyte.
string(REGEX REPLACE "(................................................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE "${OUTPUT}" "#include \"${HEADER}\"
static const unsigned char bytes[] = {
${bytes}
};
namespace lockstep {
std::span<const unsigned char> ${FUNCTION}() { return bytes; }
}  // namespace lockstep
")
