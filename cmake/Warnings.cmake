# One target that carries the warnings, hardening, sanitizers and include roots of every target of the project.
add_library(flashtune_options INTERFACE)
target_link_libraries(flashtune_options INTERFACE flashtune_hardening)
target_compile_options(flashtune_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast
                                                   $<$<BOOL:${FLASHTUNE_WERROR}>:-Werror>)
if(FLASHTUNE_SANITIZE)
  target_compile_options(flashtune_options INTERFACE -fsanitize=${FLASHTUNE_SANITIZE} -fno-omit-frame-pointer
                                                     -fno-sanitize-recover=all)
  target_link_options(flashtune_options INTERFACE -fsanitize=${FLASHTUNE_SANITIZE})
endif()
target_include_directories(flashtune_options INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/templates)
