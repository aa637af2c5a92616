# SPDX-License-Identifier: Apache-2.0
# The verbs. What they do stands in CMakeLists.txt and tools/. SAN=asan|ubsan|tsan picks a sanitized build of its own.
# CUDA=OFF leaves the plug-in for GPUs out, ON insists on it; it is built where nvcc is found.
PRESET := $(if $(SAN),$(SAN),release)
BUILD  := build/$(PRESET)
.PHONY: all build install cuda setup test check demo bench soak clean help
all: build

build: setup          # the program: build/release/lmfast, first; then tests and plug-ins
	@[ -e $(BUILD)/build.ninja -a -z "$(CUDA)" ] || cmake --preset $(PRESET) -Wno-dev $(if $(CUDA),-DLMF_CUDA=$(CUDA)) >/dev/null
	@ninja -C $(BUILD) --quiet lmfast
	@ninja -C $(BUILD) --quiet

install: build        # the program, the library with its headers: PREFIX=/usr/local, DESTDIR for packages
	@cmake --install $(BUILD) --prefix $(or $(PREFIX),/usr/local)

cuda: setup           # the plug-in for NVIDIA GPUs alone
	@cmake --preset $(PRESET) -Wno-dev -DLMF_CUDA=ON >/dev/null
	@ninja -C $(BUILD) --quiet lmfast_cuda

setup:                # packages that are missing; needs no network when none is
	@tools/setup

test: build           # units, op rows, goldens, whole-program tests
	@tools/test.sh $(BUILD)

check: build          # the gates: layers, sizes, globals, completeness, banned calls
	@tools/check.sh $(BUILD)

demo: build           # fine-tune a small model to call tools, and show that it learnt
	@python3 tools/demo --build $(BUILD)

bench: build          # speed beside transformers + PEFT, llama.cpp and HF tokenizers, and the machine's limits; about 12 minutes
	@bench/run.sh $(BUILD)

soak: build           # long runs; soak-NAME is one of them
	@tools/soak.sh $(BUILD)
soak-%: build
	@tools/soak.sh $(BUILD) $*

clean:
	rm -rf build demo

help:
	@sed -n 's/^\([a-z]*\):[a-z ]*# /make \1: /p' Makefile
