# SPDX-License-Identifier: Apache-2.0
# A toolchain for 64-bit ARM under Debian: cmake --toolchain cmake/aarch64-linux.cmake. Needs gcc-aarch64-linux-gnu, the libraries of
# tools/setup for arm64 (SYSROOT names where they are unpacked) and, to run the tests, qemu-user. Rows are the scalar ones.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_C_FLAGS_INIT -fno-tree-loop-vectorize) # gcc 12.2 breaks down over sums of fmax (vect_transform_reduction)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
if(DEFINED ENV{SYSROOT})
  include_directories(SYSTEM $ENV{SYSROOT}/usr/include $ENV{SYSROOT}/usr/include/aarch64-linux-gnu)
  link_directories($ENV{SYSROOT}/usr/lib/aarch64-linux-gnu)
  set(ENV{PKG_CONFIG_SYSROOT_DIR} $ENV{SYSROOT})
  set(ENV{PKG_CONFIG_LIBDIR} $ENV{SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig)
endif()
