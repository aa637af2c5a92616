/* SPDX-License-Identifier: Apache-2.0 */
/* null: a device that computes nothing and checks everything: addresses are numbers, and a launch walks the calls in order
 * to see that each STEP tensor is read exactly where and as it was last written. Planner and scheduler are tested on it.
 * Calls hold addresses, no names: another tensor on exactly the same bytes is not seen here; lmf_plan_placed shows it. */
#ifndef LMF_DEVICE_NULL_H
#define LMF_DEVICE_NULL_H
#include "device/device.h"

/* Greatest end of any STEP tensor or scratch of the last launched program, from the start of the arena. */
size_t lmf_null_high_water(const lmf_device *dev);

#endif
