/* SPDX-License-Identifier: Apache-2.0 */
/* device: a place where programs run: a back end is this table of functions. A device runs lists of calls, not single
 * rows: CUDA captures them as a graph, the CPU runs them in one region of its workers, null checks lifetimes.
 *
 * Only plans ask for memory, when they are bound; while one runs the device is sealed and alloc refuses (LMF_E_SEALED).
 * A device belongs to one thread at a time. A back end's struct starts with lmf_device as its first member. */
#ifndef LMF_DEVICE_DEVICE_H
#define LMF_DEVICE_DEVICE_H
#include "device/kernel.h"

typedef struct lmf_stream lmf_stream;
typedef struct lmf_program lmf_program;

typedef struct lmf_device_ops {
    const char *name;                                              /* "cpu", "cuda", "null" */
    lmf_status (*open)(lmf_ctx *, int i_device, lmf_device **);
    void       (*close)(lmf_device *);
    lmf_status (*memory)(lmf_device *, size_t *free_bytes, size_t *total_bytes);
    lmf_status (*alloc)(lmf_device *, int pinned_host, size_t bytes, void **);  /* 256-byte aligned; contents undefined */
    void       (*release)(lmf_device *, int pinned_host, void *, size_t bytes);
    lmf_status (*copy)(lmf_device *, lmf_stream *, void *dst, const void *src, size_t bytes);
    lmf_status (*fill)(lmf_device *, lmf_stream *, void *dst, int byte, size_t bytes);
    lmf_status (*stream_create)(lmf_device *, lmf_stream **);
    void       (*stream_destroy)(lmf_device *, lmf_stream *);
    lmf_status (*stream_sync)(lmf_device *, lmf_stream *);         /* blocks until all that was asked of the stream is done */
    lmf_status (*event_record)(lmf_device *, lmf_stream *, int i_event);  /* 16 events, made at open */
    lmf_status (*event_sync)(lmf_device *, int i_event);           /* blocks until all before its last record is done */
    const lmf_kernel *const *(*kernels)(lmf_device *, const char *op);    /* row tables, best first, NULL-ended; NULL: a hole */
    lmf_status (*program_create)(lmf_device *, const lmf_call *, int n, bool eager, lmf_program **); /* calls are borrowed */
    lmf_status (*program_launch)(lmf_device *, lmf_stream *, lmf_program *);
    void       (*program_destroy)(lmf_device *, lmf_program *);
} lmf_device_ops;

enum { LMF_DEVICE_EVENTS = 16 };
enum { LMF_DEVICE_HOST = 1,      /* data pointers can be read by the host: reference rows run, weights stay mapped */
       LMF_DEVICE_NO_DATA = 2 }; /* data pointers are addresses only, never dereferenced */

struct lmf_device {
    const lmf_device_ops *ops;
    lmf_ctx    *ctx;
    uint32_t    flags;           /* LMF_DEVICE_* */
    uint64_t    features;        /* CPU: LMF_CPU_*; CUDA: compute capability as 75, 80, 90 */
    int         n_workers;       /* CPU: team size; else 1 */
    bool        sealed;
    uint32_t    events;          /* bit i: event i is taken */
    size_t      asked_bytes;     /* of alloc, still held: what the plan must equal */
    size_t      asked_host_bytes;
    struct lmf_device_weights *weights; /* sets that lie here: graph/device_weights.h */
    size_t      library_bytes;   /* taken by driver and libraries, measured at bind; 0 on the CPU */
    lmf_format  formats[64];     /* resolved for this device, in the order of ctx->tables->formats */
};

/* "cpu", "null", "cuda" or "cuda:1"; a back end of a plug-in is loaded on first use. */
lmf_status lmf_device_open(lmf_ctx *ctx, const char *name, lmf_device **out);
/* LMF_E_ARG for what is no such name, whether or not there is a device of that name. */
lmf_status lmf_device_check_name(lmf_ctx *ctx, const char *name);
void       lmf_device_close(lmf_device *dev); /* NULL is fine */
/* The device's own copy of a format, with its fastest functions. */
const lmf_format *lmf_device_format(const lmf_device *dev, uint16_t dtype);
/* Fills what is common: ctx, ops, resolved formats. For back ends' open. */
lmf_status lmf_device_init(lmf_device *dev, lmf_ctx *ctx, const lmf_device_ops *ops, uint64_t features);
/* An event that nobody has, to be given back. LMF_E_LIMIT: all are taken. */
lmf_status lmf_device_event_take(lmf_device *dev, int *i_event);
void       lmf_device_event_give(lmf_device *dev, int i_event);
/* The op's first row with these LMF_ROW_* flags that takes this call, or NULL. call has views (data may be NULL) and attrs. */
const lmf_kernel *lmf_device_match(lmf_device *dev, const char *op, const lmf_call *call, uint32_t need_flags);
/* The last row of a host device: runs call->ref on worker 0. */
extern const lmf_kernel lmf_kernel_ref;

#endif
