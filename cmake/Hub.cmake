# SPDX-License-Identifier: Apache-2.0
# The hub's client, src/hub, in a library of objects of its own: what does not download doesn't link libcurl.
if(LMF_GROW) # an archive of libcurl names twenty more
  set(CMAKE_FIND_LIBRARY_SUFFIXES .so)
endif()
pkg_check_modules(LIBCURL REQUIRED IMPORTED_TARGET libcurl>=7.85)
file(GLOB_RECURSE LMF_HUB_SOURCES CONFIGURE_DEPENDS src/hub/*.c)
list(FILTER LMF_HUB_SOURCES EXCLUDE REGEX "_test\\.c$")
add_library(lmf_hub OBJECT ${LMF_HUB_SOURCES})
target_compile_definitions(lmf_hub PRIVATE ${LMF_DEFS} LMF_VERSION="${PROJECT_VERSION}")
target_include_directories(lmf_hub PRIVATE src include ${CMAKE_CURRENT_BINARY_DIR}/gen)
target_link_libraries(lmf_hub PUBLIC PkgConfig::LIBS PkgConfig::LIBCURL)
add_dependencies(lmf_hub lmf_gen)
target_sources(lmf_all INTERFACE $<TARGET_OBJECTS:lmf_hub>)
target_link_libraries(lmf_all INTERFACE PkgConfig::LIBCURL)
