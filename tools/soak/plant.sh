#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Which of the planted faults the tests see; the build that is given is not touched. A run that was stopped goes on where it was.
exec "$(dirname "$0")/../plant.py" --resume
