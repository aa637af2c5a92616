# SPDX-License-Identifier: Apache-2.0
# Agents, src/agent, in a library of objects of their own: what runs no tools doesn't link SQLite. The table of tools is made from what is
# on disk.
file(GLOB_RECURSE LMF_AGENT_SOURCES CONFIGURE_DEPENDS src/agent/*.c)
list(FILTER LMF_AGENT_SOURCES EXCLUDE REGEX "_test\\.c$")
set_source_files_properties(${CMAKE_CURRENT_BINARY_DIR}/gen/lmf_agent_tools.c PROPERTIES GENERATED TRUE)
add_library(lmf_agent OBJECT ${LMF_AGENT_SOURCES} ${CMAKE_CURRENT_BINARY_DIR}/gen/lmf_agent_tools.c)
target_compile_definitions(lmf_agent PRIVATE ${LMF_DEFS} LMF_VERSION="${PROJECT_VERSION}")
target_include_directories(lmf_agent PRIVATE src include ${CMAKE_CURRENT_BINARY_DIR}/gen)
target_link_libraries(lmf_agent PUBLIC PkgConfig::LIBS PkgConfig::SQLITE)
add_dependencies(lmf_agent lmf_gen)
target_sources(lmf_all INTERFACE $<TARGET_OBJECTS:lmf_agent>)
