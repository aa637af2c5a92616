# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning. lmfast.train does a whole run; lmfast.Trainer is one that is stepped by hand."""
