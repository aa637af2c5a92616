# SPDX-License-Identifier: Apache-2.0
# liblmfast-onednn.so: src/device/onednn and every src/ops/*/*_onednn.c, linked to libdnnl. Without its headers all else is
# built. Debian: libdnnl-dev.
if(LMF_SAN) # libdnnl and its threads are not instrumented, and the leak checker fails on them
  return()
endif()
find_path(LMF_DNNL_INCLUDE oneapi/dnnl/dnnl.h)
find_library(LMF_DNNL_LIBRARY dnnl)
if(NOT LMF_DNNL_INCLUDE OR NOT LMF_DNNL_LIBRARY OR NOT LMF_OPENMP)
  message(STATUS "oneDNN plug-in: not built (it needs libdnnl-dev, and OpenMP in this build)")
  return()
endif()
message(STATUS "oneDNN plug-in: ${LMF_DNNL_LIBRARY}")

file(GLOB LMF_ONEDNN_SOURCES CONFIGURE_DEPENDS src/device/onednn/*.c)
list(FILTER LMF_ONEDNN_SOURCES EXCLUDE REGEX "_test\\.c$")
file(GLOB LMF_ONEDNN_ROWS CONFIGURE_DEPENDS src/ops/*/*_onednn.c)
set(gen ${CMAKE_CURRENT_BINARY_DIR}/gen)
file(MAKE_DIRECTORY ${gen}/onednn)

string(REPLACE ";" "\n" listing "${LMF_ONEDNN_ROWS}")
file(WRITE ${gen}/onednn/sources.txt.new "${listing}\n")
file(COPY_FILE ${gen}/onednn/sources.txt.new ${gen}/onednn/sources.txt ONLY_IF_DIFFERENT)
add_custom_command(OUTPUT ${gen}/onednn/tables.stamp BYPRODUCTS ${gen}/onednn/lmf_onednn_tables.c
  COMMAND ${CMAKE_COMMAND} -DKIND=ONEDNN -DSOURCES=${gen}/onednn/sources.txt -DOUT=${gen}/onednn/lmf_onednn_tables.c
    -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/gen_plugin_rows.cmake
  COMMAND ${CMAKE_COMMAND} -E touch ${gen}/onednn/tables.stamp
  DEPENDS ${LMF_ONEDNN_ROWS} ${gen}/onednn/sources.txt ${CMAKE_CURRENT_SOURCE_DIR}/cmake/gen_plugin_rows.cmake
  COMMENT "table of oneDNN rows" VERBATIM)
add_custom_target(lmf_onednn_gen DEPENDS ${gen}/onednn/tables.stamp)
set_source_files_properties(${gen}/onednn/lmf_onednn_tables.c PROPERTIES GENERATED TRUE)

add_library(lmfast_onednn MODULE ${LMF_ONEDNN_SOURCES} ${LMF_ONEDNN_ROWS} ${gen}/onednn/lmf_onednn_tables.c)
target_include_directories(lmfast_onednn PRIVATE src ${gen})
target_include_directories(lmfast_onednn SYSTEM PRIVATE ${LMF_DNNL_INCLUDE})
target_compile_definitions(lmfast_onednn PRIVATE _GNU_SOURCE)
target_compile_options(lmfast_onednn PRIVATE -fvisibility=hidden)
target_link_libraries(lmfast_onednn PRIVATE ${LMF_DNNL_LIBRARY} ${LMF_OPENMP})
set_target_properties(lmfast_onednn PROPERTIES OUTPUT_NAME lmfast-onednn)
add_dependencies(lmfast_onednn lmf_gen lmf_onednn_gen)
install(TARGETS lmfast_onednn LIBRARY DESTINATION lib)

# The op cases run over its rows too.
function(lmf_onednn_finish)
  if(TARGET lmf_tests)
    add_dependencies(lmf_tests lmfast_onednn)
  endif()
endfunction()
cmake_language(DEFER CALL lmf_onednn_finish)
