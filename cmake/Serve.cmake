# SPDX-License-Identifier: Apache-2.0
# The server, src/serve, in a library of objects of its own: what does not serve links neither libevent, llhttp nor
# SQLite. llhttp 9 comes from the
# system where it has one, else as pinned source (tools/fetch_llhttp.py). The table of endpoints is made from what is on disk.
pkg_check_modules(LIBEVENT REQUIRED IMPORTED_TARGET libevent_core>=2.1)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3>=3.35)
pkg_check_modules(LLHTTP IMPORTED_TARGET libllhttp>=9.2)
if(NOT LLHTTP_FOUND)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  execute_process(COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tools/fetch_llhttp.py OUTPUT_VARIABLE LMF_LLHTTP
    OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "llhttp 9 is missing: install it with its headers (libllhttp-dev), "
                        "or let tools/fetch_llhttp.py fetch its source once")
  endif()
  add_library(lmf_llhttp OBJECT ${LMF_LLHTTP}/api.c ${LMF_LLHTTP}/http.c ${LMF_LLHTTP}/llhttp.c)
  target_compile_options(lmf_llhttp PRIVATE -w)
  target_include_directories(lmf_llhttp SYSTEM INTERFACE ${LMF_LLHTTP})
  set(LMF_LLHTTP_OBJECTS $<TARGET_OBJECTS:lmf_llhttp>)
endif()

file(GLOB_RECURSE LMF_SERVE_SOURCES CONFIGURE_DEPENDS src/serve/*.c)
list(FILTER LMF_SERVE_SOURCES EXCLUDE REGEX "_test\\.c$")
set_source_files_properties(${CMAKE_CURRENT_BINARY_DIR}/gen/lmf_endpoints.c PROPERTIES GENERATED TRUE)
# The chat page goes into the program as it is.
add_custom_command(OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/gen/lmf_page.c
  COMMAND ${CMAKE_COMMAND} -DFROM=${CMAKE_CURRENT_SOURCE_DIR}/web/chat.html -DOUT=${CMAKE_CURRENT_BINARY_DIR}/gen/lmf_page.c
          -DNAME=lmf__page -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/embed.cmake
  DEPENDS web/chat.html cmake/embed.cmake VERBATIM)
add_library(lmf_serve OBJECT ${LMF_SERVE_SOURCES} ${CMAKE_CURRENT_BINARY_DIR}/gen/lmf_endpoints.c
            ${CMAKE_CURRENT_BINARY_DIR}/gen/lmf_page.c)
target_compile_definitions(lmf_serve PRIVATE ${LMF_DEFS} LMF_VERSION="${PROJECT_VERSION}")
target_include_directories(lmf_serve PRIVATE src include ${CMAKE_CURRENT_BINARY_DIR}/gen)
target_link_libraries(lmf_serve PUBLIC PkgConfig::LIBS PkgConfig::LIBEVENT PkgConfig::SQLITE)
if(LLHTTP_FOUND)
  target_link_libraries(lmf_serve PUBLIC PkgConfig::LLHTTP)
else()
  target_include_directories(lmf_serve SYSTEM PUBLIC ${LMF_LLHTTP})
endif()
add_dependencies(lmf_serve lmf_gen)
target_sources(lmf_all INTERFACE $<TARGET_OBJECTS:lmf_serve> ${LMF_LLHTTP_OBJECTS})
target_include_directories(lmf_all SYSTEM INTERFACE $<TARGET_PROPERTY:lmf_serve,INTERFACE_SYSTEM_INCLUDE_DIRECTORIES>)
target_link_libraries(lmf_all INTERFACE PkgConfig::LIBEVENT PkgConfig::SQLITE $<$<BOOL:${LLHTTP_FOUND}>:PkgConfig::LLHTTP>)
