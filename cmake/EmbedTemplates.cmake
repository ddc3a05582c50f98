# flashtune_embed_headers(TARGET ROOT NAME): compiles the text of ROOT/flashtune/** into TARGET as kEmbedded<NAME>s, a table
# of (logical path, text), and kEmbedded<NAME>Count. Regenerated when a file changes.
function(flashtune_embed_headers target root name)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS ${root}/flashtune/*.h ${root}/flashtune/*.cuh)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/embedded_${name}.cpp)
  string(SHA1 names "${files}")  # part of the command, so that a file that is deleted goes from the library too
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DROOT=${root} -DNAME=${name} -DOUTPUT=${output} -DNAMES=${names}
            -P ${PROJECT_SOURCE_DIR}/cmake/EmbedTemplatesScript.cmake
    DEPENDS ${files} ${PROJECT_SOURCE_DIR}/cmake/EmbedTemplatesScript.cmake
    COMMENT "Embedding ${root}")
  target_sources(${target} PRIVATE ${output})
endfunction()

# flashtune_embed_templates(TARGET): the kernel templates, so that an installed library needs no source tree.
# Templates::embedded() serves them.
function(flashtune_embed_templates target)
  flashtune_embed_headers(${target} ${PROJECT_SOURCE_DIR}/templates Template)
endfunction()
