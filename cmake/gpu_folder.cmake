# SPDX-License-Identifier: Apache-2.0
# Run by the target `gpu` with -P: copies the libraries that PROGRAMS load, but for those of glibc, into DIR/lib, so that
# they run on a machine that has glibc and a driver only.
set(programs "")
foreach(p ${PROGRAMS})
  get_filename_component(name ${p} NAME)
  list(APPEND programs ${p})
endforeach()
file(GET_RUNTIME_DEPENDENCIES EXECUTABLES ${programs} RESOLVED_DEPENDENCIES_VAR found UNRESOLVED_DEPENDENCIES_VAR missing
  POST_EXCLUDE_REGEXES "/(ld-linux-x86-64|libc|libm|libdl|libpthread|librt)\\.so")
foreach(library ${found})
  get_filename_component(real ${library} REALPATH)
  get_filename_component(name ${library} NAME)
  configure_file(${real} ${DIR}/lib/${name} COPYONLY)
endforeach()
