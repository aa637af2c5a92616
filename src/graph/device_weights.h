/* SPDX-License-Identifier: Apache-2.0 */
/* device_weights: a set of weights as it lies on one device. There is one for each set in use there: the first plan that binds a set
 * brings the tensors that it needs, later plans borrow them and bring what is missing, and with the last plan all goes. So a trainer, an
 * engine and a scorer on one device share one base. Where the device reads the host's bytes, or the set lies on
 * the device itself, nothing is copied.
 *
 *     lmf_device_weights_borrow(dev, set, &w);         // counts
 *     lmf_device_weights_bring(w, item, n, &bytes);    // indexes in set->items
 *     view.data = lmf_device_weights_at(w, item[0]);   // the address stays until the last return
 *     set->version++, lmf_device_weights_update(w);    // copies again what the owner changed
 *     lmf_device_weights_return(w);
 *
 * Owner: its borrowers, counted; the set must outlive them. Threads: one at a time, as for the device. */
#ifndef LMF_GRAPH_DEVICE_WEIGHTS_H
#define LMF_GRAPH_DEVICE_WEIGHTS_H
#include "device/device.h"
#include "graph/weights.h"

typedef struct lmf_device_weights lmf_device_weights;

lmf_status lmf_device_weights_borrow(lmf_device *dev, lmf_weights *set, lmf_device_weights **out);
void       lmf_device_weights_return(lmf_device_weights *w);         /* NULL is fine */
/* Those of the n items that are not there yet, in one allocation; *bytes: its size, 0 where nothing is copied. LMF_E_UNSUPPORTED: the set
 * lies on another device. */
lmf_status lmf_device_weights_bring(lmf_device_weights *w, const int32_t *item, int32_t n, size_t *bytes);
void      *lmf_device_weights_at(const lmf_device_weights *w, int32_t item); /* NULL: not there */
/* Copies again what is there when the set's version is not the one that was copied. Nothing may run on the device. */
lmf_status lmf_device_weights_update(lmf_device_weights *w);
size_t     lmf_device_weights_bytes(const lmf_device_weights *w);    /* on the device, all borrowers together */
int32_t    lmf_device_weights_n_borrowers(const lmf_device_weights *w);

#endif
