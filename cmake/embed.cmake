# SPDX-License-Identifier: Apache-2.0
# cmake -DFROM=file -DOUT=file.c -DNAME=symbol -P embed.cmake: the bytes of a file as `const char NAME[]`, ended by a NUL that NAME_bytes
# does not count.
file(READ ${FROM} hex HEX)
string(LENGTH "${hex}" n)
math(EXPR n "${n} / 2")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n" bytes "${bytes}")
file(WRITE ${OUT} "#include <stddef.h>
extern const char ${NAME}[];
extern const size_t ${NAME}_bytes;
const char ${NAME}[] = {
${bytes}0 };
const size_t ${NAME}_bytes = ${n};
")
