# SPDX-License-Identifier: Apache-2.0
# liblmfast-cuda.so: src/device/cuda, every src/ops/*/*_cuda.c, and one embedded fatbin for each src/ops/*/*_cuda.cu. Only
# nvcc and cuda.h are needed to build it, nothing of CUDA is linked. LMF_CUDA: AUTO builds it where nvcc is found, OFF leaves
# it out (kernels for five chips take minutes), ON stops where nvcc is missing. `ninja lmfast_cuda` builds it alone.
# LMF_CUDA_ARCHS: compute capabilities that get machine code; the last one of LMF_CUDA_PTX gets PTX for what comes later.
# A second set for older drivers would be a second list of fatbins, chosen in src/device/cuda/program.c.
set(LMF_CUDA AUTO CACHE STRING "the CUDA plug-in: AUTO, ON or OFF")
set_property(CACHE LMF_CUDA PROPERTY STRINGS AUTO ON OFF)
set(LMF_CUDA_ARCHS "75;80;86;89;90a" CACHE STRING "compute capabilities to make SASS for")
set(LMF_CUDA_PTX 90 CACHE STRING "compute capability to make PTX for")

# ---- what the tests of the plug-in loader open; no CUDA in it ----
set(LMF_FAKE_PLUGINS ${CMAKE_CURRENT_BINARY_DIR}/fake_plugins)
foreach(kind good bytes hash view nosymbol name null)
  string(TOUPPER ${kind} upper)
  add_library(lmf_fake_${kind} MODULE EXCLUDE_FROM_ALL tests/gpu/fake_plugin.c)
  target_compile_definitions(lmf_fake_${kind} PRIVATE FAKE_${upper} _GNU_SOURCE)
  target_compile_options(lmf_fake_${kind} PRIVATE -Wno-override-init)
  target_include_directories(lmf_fake_${kind} PRIVATE src ${CMAKE_CURRENT_BINARY_DIR}/gen)
  set_target_properties(lmf_fake_${kind} PROPERTIES PREFIX lib OUTPUT_NAME lmfast-fake${kind} LIBRARY_OUTPUT_DIRECTORY ${LMF_FAKE_PLUGINS})
  add_dependencies(lmf_fake_${kind} lmf_gen)
  list(APPEND LMF_FAKES lmf_fake_${kind})
endforeach()
set_property(SOURCE src/device/cuda/plugin_test.c APPEND PROPERTY COMPILE_DEFINITIONS LMF_FAKE_PLUGINS="${LMF_FAKE_PLUGINS}")

if(LMF_SAN OR (NOT LMF_CUDA AND NOT LMF_CUDA STREQUAL AUTO)) # host code of sanitized builds has no need of device code
  set(LMF_NVCC LMF_NVCC-NOTFOUND)
else()
  find_program(LMF_NVCC nvcc HINTS /usr/local/cuda/bin ENV CUDA_HOME PATH_SUFFIXES bin)
endif()
if(LMF_NVCC)
  get_filename_component(LMF_CUDA_HOME ${LMF_NVCC} REALPATH)
  get_filename_component(LMF_CUDA_HOME ${LMF_CUDA_HOME} DIRECTORY)
  find_path(LMF_CUDA_INCLUDE cuda.h HINTS ${LMF_CUDA_HOME}/../include ${LMF_CUDA_HOME}/../targets/x86_64-linux/include)
endif()

# Runs at the end of the top CMakeLists.txt, when lmf_tests is known.
function(lmf_cuda_finish)
  if(TARGET lmf_tests)
    add_dependencies(lmf_tests ${LMF_FAKES})
    if(TARGET lmfast_cuda)
      add_dependencies(lmf_tests lmfast_cuda lmf_fake_driver)
    endif()
  endif()
  if(TARGET test_cuda)
    # build/<preset>/gpu: all that a GPU machine needs, tools/gpu_check.sh runs it there
    set(dir ${CMAKE_CURRENT_BINARY_DIR}/gpu)
    set(targets lmfast_cuda test_cuda)
    foreach(t lmfast lmf_tests lmfast_onednn)
      if(TARGET ${t})
        list(APPEND targets ${t})
      endif()
    endforeach()
    set(files "")
    foreach(t ${targets})
      list(APPEND files $<TARGET_FILE:${t}>)
    endforeach()
    add_custom_target(gpu
      COMMAND ${CMAKE_COMMAND} -E make_directory ${dir}/lib
      COMMAND ${CMAKE_COMMAND} -DDIR=${dir} -DSTRIP=${CMAKE_STRIP} "-DPROGRAMS=${files}" -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/gpu_folder.cmake
      DEPENDS ${targets} COMMENT "${dir}: programs and libraries for tools/gpu_check.sh" VERBATIM)
  endif()
endfunction()
cmake_language(DEFER CALL lmf_cuda_finish)

if(NOT LMF_NVCC OR NOT LMF_CUDA_INCLUDE)
  if(LMF_CUDA STREQUAL ON AND NOT LMF_SAN)
    message(FATAL_ERROR "LMF_CUDA is ON, and no nvcc with cuda.h was found: install the CUDA toolkit, or name it with -DLMF_NVCC=PATH")
  endif()
  message(STATUS "CUDA plug-in: not built (LMF_CUDA is ${LMF_CUDA}; nvcc is needed)")
  return()
endif()
message(STATUS "CUDA plug-in: ${LMF_NVCC}, SASS for ${LMF_CUDA_ARCHS}, PTX for ${LMF_CUDA_PTX}")

file(GLOB LMF_CUDA_SOURCES CONFIGURE_DEPENDS src/device/cuda/*.c)
list(FILTER LMF_CUDA_SOURCES EXCLUDE REGEX "_test\\.c$")
file(GLOB LMF_CUDA_ROWS CONFIGURE_DEPENDS src/ops/*/*_cuda.c)
file(GLOB LMF_CUDA_KERNELS CONFIGURE_DEPENDS src/ops/*/*_cuda.cu)
set(gen ${CMAKE_CURRENT_BINARY_DIR}/gen)
file(MAKE_DIRECTORY ${gen}/cuda)

set(gencode "")
foreach(arch ${LMF_CUDA_ARCHS})
  list(APPEND gencode -gencode arch=compute_${arch},code=sm_${arch})
endforeach()
list(APPEND gencode -gencode arch=compute_${LMF_CUDA_PTX},code=compute_${LMF_CUDA_PTX})

# Formats that kernels read: each src/quant/NAME/NAME.cuh (device/cuda/unpack.cuh). Those with an lmf_eight are read in whole words, too.
file(GLOB LMF_CUDA_FORMATS CONFIGURE_DEPENDS src/quant/*/*.cuh)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${LMF_CUDA_FORMATS})
set(each "")
set(eight "")
set(numbers "")
set(includes "")
foreach(source ${LMF_CUDA_FORMATS})
  get_filename_component(name ${source} NAME_WE)
  string(TOUPPER LMF_${name} number)
  string(APPEND each " X(${name}, ${number})")
  string(APPEND numbers " ${number},")
  string(APPEND includes "#include \"quant/${name}/${name}.cuh\"\n")
  file(STRINGS ${source} found REGEX "lmf_eight<${number}>")
  if(found)
    string(APPEND eight " X(${name}, ${number})")
  endif()
endforeach()
set(macros "#define LMF_EACH_FORMAT(X)${each}\n#define LMF_EACH_EIGHT(X)${eight}\n")
file(WRITE ${gen}/cuda/new.txt "/* Generated by cmake/Cuda.cmake. */\n${macros}")
file(COPY_FILE ${gen}/cuda/new.txt ${gen}/cuda/cuda_formats.h ONLY_IF_DIFFERENT)
file(WRITE ${gen}/cuda/new.txt "/* Generated by cmake/Cuda.cmake. */\nenum {${numbers} };\n${includes}")
file(COPY_FILE ${gen}/cuda/new.txt ${gen}/cuda/cuda_formats.cuh ONLY_IF_DIFFERENT)

# Without contraction an fma stands where it is written, as on the CPU; division and roots are rounded, denormals kept.
set(LMF_NVCC_FLAGS -std=c++17 -O3 --fmad=false -Xcompiler -Wall --Werror all-warnings)
set(stems "")
set(blobs "")
foreach(source ${LMF_CUDA_KERNELS})
  get_filename_component(stem ${source} NAME_WE)
  string(REGEX REPLACE "_cuda$" "" stem ${stem})
  list(APPEND stems ${stem})
  set(fatbin ${gen}/cuda/${stem}.fatbin)
  add_custom_command(OUTPUT ${fatbin}
    COMMAND ${LMF_NVCC} -fatbin ${LMF_NVCC_FLAGS} ${gencode} -I${CMAKE_CURRENT_SOURCE_DIR}/src -I${gen}/cuda -MD -MF ${fatbin}.d -MT ${fatbin} -o ${fatbin} ${source}
    DEPENDS ${source} DEPFILE ${fatbin}.d COMMENT "kernels of ${stem}" VERBATIM)
  file(WRITE ${gen}/cuda/${stem}_blob.c.new "/* Generated by cmake/Cuda.cmake. */
__asm__(\".section .rodata\\n.balign 64\\n.global lmf_cuda_fatbin_${stem}\\n.hidden lmf_cuda_fatbin_${stem}\\nlmf_cuda_fatbin_${stem}:\\n\"
        \".incbin \\\"${fatbin}\\\"\\n.byte 0\\n.previous\\n\");\n")
  file(COPY_FILE ${gen}/cuda/${stem}_blob.c.new ${gen}/cuda/${stem}_blob.c ONLY_IF_DIFFERENT)
  set_source_files_properties(${gen}/cuda/${stem}_blob.c PROPERTIES OBJECT_DEPENDS ${fatbin})
  list(APPEND blobs ${gen}/cuda/${stem}_blob.c)
endforeach()

string(REPLACE ";" "\n" listing "${LMF_CUDA_ROWS}")
file(WRITE ${gen}/cuda/sources.txt.new "${listing}\n")
file(COPY_FILE ${gen}/cuda/sources.txt.new ${gen}/cuda/sources.txt ONLY_IF_DIFFERENT)
add_custom_command(OUTPUT ${gen}/cuda/tables.stamp BYPRODUCTS ${gen}/cuda/lmf_cuda_tables.c
  COMMAND ${CMAKE_COMMAND} -DKIND=CUDA -DSOURCES=${gen}/cuda/sources.txt -DOUT=${gen}/cuda/lmf_cuda_tables.c "-DMODULES=${stems}"
    -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/gen_plugin_rows.cmake
  COMMAND ${CMAKE_COMMAND} -E touch ${gen}/cuda/tables.stamp
  DEPENDS ${LMF_CUDA_ROWS} ${gen}/cuda/sources.txt ${CMAKE_CURRENT_SOURCE_DIR}/cmake/gen_plugin_rows.cmake
  COMMENT "table of CUDA rows" VERBATIM)
add_custom_target(lmf_cuda_gen DEPENDS ${gen}/cuda/tables.stamp)
set_source_files_properties(${gen}/cuda/lmf_cuda_tables.c PROPERTIES GENERATED TRUE)

add_library(lmfast_cuda MODULE ${LMF_CUDA_SOURCES} ${LMF_CUDA_ROWS} ${blobs} ${gen}/cuda/lmf_cuda_tables.c)
target_include_directories(lmfast_cuda PRIVATE src ${gen} ${gen}/cuda)
target_include_directories(lmfast_cuda SYSTEM PRIVATE ${LMF_CUDA_INCLUDE})
target_compile_definitions(lmfast_cuda PRIVATE _GNU_SOURCE LMF_CUDA_90A=$<IN_LIST:90a,${LMF_CUDA_ARCHS}>)
target_compile_options(lmfast_cuda PRIVATE -fvisibility=hidden)
target_link_libraries(lmfast_cuda PRIVATE dl m)
set_target_properties(lmfast_cuda PROPERTIES OUTPUT_NAME lmfast-cuda)
add_dependencies(lmfast_cuda lmf_gen lmf_cuda_gen)
install(TARGETS lmfast_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})

# ---- a driver without a GPU, for the tests of src/device/cuda: same soname, host memory, kernels that do nothing ----
add_library(lmf_fake_driver MODULE EXCLUDE_FROM_ALL tests/gpu/fake_driver.c)
target_include_directories(lmf_fake_driver SYSTEM PRIVATE ${LMF_CUDA_INCLUDE})
target_link_options(lmf_fake_driver PRIVATE -Wl,-soname,libcuda.so.1)
set_target_properties(lmf_fake_driver PROPERTIES OUTPUT_NAME cuda-fake LIBRARY_OUTPUT_DIRECTORY ${LMF_FAKE_PLUGINS})
set_property(SOURCE src/device/cuda/cuda_device_test.c APPEND PROPERTY COMPILE_DEFINITIONS LMF_FAKE_DRIVER="${LMF_FAKE_PLUGINS}/libcuda-fake.so")

# ---- test_cuda: for a machine with a GPU and nothing else; what it links besides libc is static ----
if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/tests/gpu/cuda_test.c AND NOT LMF_SAN)
  execute_process(COMMAND ${CMAKE_C_COMPILER} -print-file-name=libgomp.a OUTPUT_VARIABLE LMF_GOMP OUTPUT_STRIP_TRAILING_WHITESPACE)
  add_executable(test_cuda EXCLUDE_FROM_ALL tests/gpu/cuda_test.c $<TARGET_OBJECTS:lmf_objects> ${LMF_CPU_OBJECTS})
  target_include_directories(test_cuda PRIVATE src include ${gen} ${gen}/cuda)
  target_compile_definitions(test_cuda PRIVATE ${LMF_DEFS} LMF_VERSION="${PROJECT_VERSION}")
  target_link_libraries(test_cuda PRIVATE -l:libjansson.a -l:libutf8proc.a -l:libcrypto.a -l:libz.a -l:libyaml.a ${LMF_GOMP} pthread dl m)
  set_target_properties(test_cuda PROPERTIES ENABLE_EXPORTS ON)
  add_dependencies(test_cuda lmf_gen)
endif()
