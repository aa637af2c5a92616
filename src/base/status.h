/* SPDX-License-Identifier: Apache-2.0 */
/* status: what a call that can fail returns. 0 is success, every failure is negative; the sentence that
 * goes with it is in the context's error record (ctx.h). Values are pinned: they are part of the ABI. */
#ifndef LMF_BASE_STATUS_H
#define LMF_BASE_STATUS_H

#define LMF_STATUS_LIST(X)                                                                  \
    X(OK,          0, "success")                                                            \
    X(E_MEMORY,   -1, "out of memory")                                                      \
    X(E_IO,       -2, "the operating system refused a file operation")                      \
    X(E_FORMAT,   -3, "the bytes of a file or message are not what their format demands")   \
    X(E_ARG,      -4, "an argument, flag or field has a value that is not allowed")         \
    X(E_SHAPE,    -5, "tensor shapes do not fit together")                                  \
    X(E_DTYPE,    -6, "a tensor has a data type that is not supported here")                \
    X(E_NOT_FOUND,-7, "a name was looked up and is not there")                              \
    X(E_SEALED,   -8, "memory was asked of a device after it was sealed")                   \
    X(E_BUSY,     -9, "no room now; try again later")                                       \
    X(E_LIMIT,   -10, "a fixed limit was exceeded")                                         \
    X(E_DEVICE,  -11, "a device or its driver failed")                                      \
    X(E_UNSUPPORTED, -12, "this build, device or file does not offer what was asked")       \
    X(E_CANCELLED, -13, "stopped on request")                                               \
    X(E_EXISTS,  -14, "the target exists and is not ours to overwrite")                     \
    X(E_INTERNAL, -15, "an invariant of LMFast does not hold: a bug, please report")

typedef enum lmf_status {
#define X(name, value, text) LMF_##name = value,
    LMF_STATUS_LIST(X)
#undef X
} lmf_status;

const char *lmf_status_name(lmf_status s); /* "E_SHAPE"; static storage */
const char *lmf_status_text(lmf_status s); /* "tensor shapes do not fit together"; static storage */

#define LMF_MUST_USE __attribute__((warn_unused_result))
#define LMF_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#endif
