# SPDX-License-Identifier: Apache-2.0
# The generated tables: what is on disk is listed by symbol at build time (gen_tables.cmake), so that adding an op, a
# format, a model, a test or a command is adding a file. Nothing generated is committed.

function(lmf_tables out)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/*.c ${CMAKE_CURRENT_SOURCE_DIR}/tests/unit/*_test.c)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/ops/*.h ${CMAKE_CURRENT_SOURCE_DIR}/src/quant/*.h
    ${CMAKE_CURRENT_SOURCE_DIR}/src/device/*.h)
  set(gen ${CMAKE_CURRENT_BINARY_DIR}/gen)
  file(MAKE_DIRECTORY ${gen})
  string(REPLACE ";" "\n" listing "${sources}")
  file(WRITE ${gen}/sources.txt.new "${listing}\n")
  file(COPY_FILE ${gen}/sources.txt.new ${gen}/sources.txt ONLY_IF_DIFFERENT)
  # gen.stamp is newer than the sources; the tables themselves change only when their text does
  add_custom_command(OUTPUT ${gen}/gen.stamp
    BYPRODUCTS ${gen}/lmf_tables.c ${gen}/lmf_test_tables.c ${gen}/lmf_commands.c
      ${gen}/lmf_endpoints.c ${gen}/lmf_agent_tools.c ${gen}/lmf_tables_hash.h
    COMMAND ${CMAKE_COMMAND} -DGEN=${gen} -DROOT=${CMAKE_CURRENT_SOURCE_DIR} "-DLEVELS=${LMF_LEVELS}"
      -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/gen_tables.cmake
    COMMAND ${CMAKE_COMMAND} -E touch ${gen}/gen.stamp
    DEPENDS ${sources} ${headers} ${gen}/sources.txt ${CMAKE_CURRENT_SOURCE_DIR}/cmake/gen_tables.cmake
    COMMENT "tables of ops, formats, models, tests, commands, endpoints, tools" VERBATIM)
  add_custom_target(lmf_gen DEPENDS ${gen}/gen.stamp)
  set_source_files_properties(${gen}/lmf_tables.c ${gen}/lmf_test_tables.c ${gen}/lmf_commands.c PROPERTIES GENERATED TRUE)
  set(${out} ${gen}/lmf_tables.c PARENT_SCOPE)
endfunction()

# One CTest entry a folder that has tests.
function(lmf_register_tests sources)
  set(folders "")
  foreach(source ${sources})
    file(RELATIVE_PATH rel ${CMAKE_CURRENT_SOURCE_DIR} ${source})
    get_filename_component(folder ${rel} DIRECTORY)
    list(APPEND folders ${folder})
  endforeach()
  list(REMOVE_DUPLICATES folders)
  foreach(folder ${folders})
    add_test(NAME ${folder} COMMAND lmf_tests ${folder})
  endforeach()
endfunction()
