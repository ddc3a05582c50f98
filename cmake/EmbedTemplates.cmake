# flashtune_embed_templates(TARGET): compiles the text of templates/flashtune/** into TARGET, so that an installed library
# needs no source tree. Regenerated when a template changes; Templates::embedded() serves it.
function(flashtune_embed_templates target)
  file(GLOB_RECURSE templates CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/templates/flashtune/*.h
       ${PROJECT_SOURCE_DIR}/templates/flashtune/*.cuh)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/embedded_templates.cpp)
  string(SHA1 names "${templates}")  # part of the command, so that a template that is deleted goes from the library too
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DROOT=${PROJECT_SOURCE_DIR}/templates -DOUTPUT=${output} -DNAMES=${names}
            -P ${PROJECT_SOURCE_DIR}/cmake/EmbedTemplatesScript.cmake
    DEPENDS ${templates} ${PROJECT_SOURCE_DIR}/cmake/EmbedTemplatesScript.cmake
    COMMENT "Embedding templates")
  target_sources(${target} PRIVATE ${output})
endfunction()
