/* SPDX-License-Identifier: Apache-2.0 */
/* events: TensorBoard's event files. A file is records: 8 bytes length, masked CRC-32C of these, the bytes, masked CRC-32C of them; a
 * record is an Event in protobuf's wire form (wall_time 1, step 2, file_version 3, summary 5 { value 1 { tag 1, simple_value 2 } },
 * source_metadata 10 { writer 1 }), as tensorflow/core/util/event.proto and lib/io/record_writer have it.
 *
 * Events are made from the lines of metrics.jsonl: each number of a line but step and times is a scalar, "train/loss", "eval/loss" for
 * eval_loss. The same log gives the same bytes. Threads: nothing is kept. */
#ifndef LMF_OBSERVE_EVENTS_H
#define LMF_OBSERVE_EVENTS_H
#include "base/buf.h"

#define LMF_EVENTS_NAME "events.out.tfevents.0.lmfast"

/* The first record of a file: its version and writer. */
lmf_status lmf_events_begin(lmf_buf *out);
/* The events of some lines of a log, appended; lines that are none are passed over. */
lmf_status lmf_events_add(lmf_ctx *ctx, const char *log, size_t n, lmf_buf *out);
/* Whether bytes are a file that we wrote: whole records but for the last, which a kill may have cut, the first with our name. */
bool       lmf_events_is_ours(const char *p, size_t n);

#endif
