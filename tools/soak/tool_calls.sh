#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# 10,000 requests for calls and schemas to the real model, each judged by Python's jsonschema.
exec "$(tools/venv.sh test)" tools/oracle/tool_calls.py --program "$1/lmfast" --requests "${2:-10000}"
