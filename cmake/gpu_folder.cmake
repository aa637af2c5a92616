# SPDX-License-Identifier: Apache-2.0
# Run by the target `gpu` with -P: PROGRAMS (and plug-ins) into DIR, stripped, and the libraries that they load, but for
# those of glibc, into DIR/lib, so that they run on a machine that has glibc and a driver only.
set(programs "")
set(modules "")
foreach(p ${PROGRAMS})
  get_filename_component(name ${p} NAME)
  execute_process(COMMAND ${STRIP} --strip-unneeded -o ${DIR}/${name} ${p} COMMAND_ERROR_IS_FATAL ANY)
  if(name MATCHES "\\.so$")
    list(APPEND modules ${p})
  else()
    list(APPEND programs ${p})
  endif()
endforeach()
file(GET_RUNTIME_DEPENDENCIES EXECUTABLES ${programs} MODULES ${modules} RESOLVED_DEPENDENCIES_VAR found UNRESOLVED_DEPENDENCIES_VAR missing
  POST_EXCLUDE_REGEXES "/(ld-linux-x86-64|libc|libm|libdl|libpthread|librt)\\.so")
if(missing)
  message(FATAL_ERROR "libraries that were not found: ${missing}")
endif()
foreach(library ${found})
  get_filename_component(real ${library} REALPATH)
  get_filename_component(name ${library} NAME)
  file(COPY_FILE ${real} ${DIR}/lib/${name} ONLY_IF_DIFFERENT)
endforeach()
