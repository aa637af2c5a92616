# SPDX-License-Identifier: Apache-2.0
# liblmfast.so: src/api behind the headers of include/lmfast, and all below. Nothing is exported but lmfast_* (src/api/lmfast.map), and
# tools/check_abi.py holds the list. Also what programs need to find it: pkg-config's file and a CMake package; the examples; the Python
# package as a folder that can be put on PYTHONPATH, build/python.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
file(GLOB LMF_API_SOURCES CONFIGURE_DEPENDS src/api/*.c)
list(FILTER LMF_API_SOURCES EXCLUDE REGEX "_test\\.c$")
add_library(lmf_api OBJECT ${LMF_API_SOURCES})
target_compile_definitions(lmf_api PRIVATE ${LMF_DEFS} LMF_VERSION="${PROJECT_VERSION}")
target_compile_options(lmf_api PRIVATE -fvisibility=hidden)
target_include_directories(lmf_api PRIVATE src include ${CMAKE_CURRENT_BINARY_DIR}/gen)
target_link_libraries(lmf_api PUBLIC PkgConfig::LIBS)
add_dependencies(lmf_api lmf_gen)
target_sources(lmf_all INTERFACE $<TARGET_OBJECTS:lmf_api>)

# Without the server: libevent wants a newer glibc than all else here.
add_library(lmfast_shared SHARED $<TARGET_OBJECTS:lmf_objects> ${LMF_CPU_OBJECTS} $<TARGET_OBJECTS:lmf_api>)
target_link_libraries(lmfast_shared PRIVATE PkgConfig::LIBS ${LMF_OPENMP} pthread dl m)
target_include_directories(lmfast_shared PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
target_link_options(lmfast_shared PRIVATE -Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/src/api/lmfast.map -Wl,--no-undefined)
set_target_properties(lmfast_shared PROPERTIES OUTPUT_NAME lmfast EXPORT_NAME lmfast VERSION ${PROJECT_VERSION} SOVERSION 0
  LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/api/lmfast.map)

# ---- examples: programs that see the public headers and nothing else ----
file(GLOB LMF_EXAMPLES CONFIGURE_DEPENDS examples/*.c)
foreach(source ${LMF_EXAMPLES})
  get_filename_component(name ${source} NAME_WE)
  add_executable(example_${name} ${source})
  target_link_libraries(example_${name} PRIVATE lmfast_shared)
endforeach()

# ---- the Python package ----
file(GLOB_RECURSE LMF_PYTHON_SOURCES CONFIGURE_DEPENDS bindings/python/lmfast/*.py bindings/python/lmfast/py.typed)
file(GLOB LMF_PUBLIC_HEADERS CONFIGURE_DEPENDS include/lmfast/*.h)
set(LMF_PYTHON_DIR ${CMAKE_CURRENT_BINARY_DIR}/python)
add_custom_command(OUTPUT ${LMF_PYTHON_DIR}/stamp
  COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/bindings/python/stage.py ${LMF_PYTHON_DIR}
    --library $<TARGET_FILE:lmfast_shared>
  COMMAND ${CMAKE_COMMAND} -E touch ${LMF_PYTHON_DIR}/stamp
  DEPENDS lmfast_shared ${LMF_PYTHON_SOURCES} ${LMF_PUBLIC_HEADERS} ${CMAKE_CURRENT_SOURCE_DIR}/bindings/python/stage.py
    ${CMAKE_CURRENT_SOURCE_DIR}/tools/headers.py
  COMMENT "Python package in ${LMF_PYTHON_DIR}" VERBATIM)
add_custom_target(lmfast_python ALL DEPENDS ${LMF_PYTHON_DIR}/stamp)

# ---- manual pages and completions, from the program's own tables ----
if(TARGET lmfast)
  set(LMF_MANUAL_DIR ${CMAKE_CURRENT_BINARY_DIR}/manual)
  add_custom_command(OUTPUT ${LMF_MANUAL_DIR}/stamp
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tools/manual.py $<TARGET_FILE:lmfast> ${LMF_MANUAL_DIR}
    COMMAND ${CMAKE_COMMAND} -E touch ${LMF_MANUAL_DIR}/stamp
    DEPENDS lmfast ${CMAKE_CURRENT_SOURCE_DIR}/tools/manual.py COMMENT "manual pages and completions" VERBATIM)
  add_custom_target(lmfast_manual ALL DEPENDS ${LMF_MANUAL_DIR}/stamp)
  install(DIRECTORY ${LMF_MANUAL_DIR}/man1 TYPE MAN)
  install(FILES ${LMF_MANUAL_DIR}/bash/lmfast DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES ${LMF_MANUAL_DIR}/zsh/_lmfast DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
  install(FILES ${LMF_MANUAL_DIR}/fish/lmfast.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()

# ---- make install ----
# the file says where things are from where it lies
file(RELATIVE_PATH LMF_PC_UP /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
configure_file(cmake/lmfast.pc.in lmfast.pc @ONLY)
include(CMakePackageConfigHelpers)
write_basic_package_version_file(lmfastConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(TARGETS lmfast_shared EXPORT lmfast LIBRARY)
install(DIRECTORY include/lmfast TYPE INCLUDE)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lmfast.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(EXPORT lmfast FILE lmfastConfig.cmake NAMESPACE lmfast:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lmfast)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lmfastConfigVersion.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lmfast)
