# SPDX-License-Identifier: Apache-2.0
"""Configurations and models."""
