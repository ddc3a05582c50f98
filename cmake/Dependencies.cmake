# Everything flashtune needs, all of it in Debian 12 and Ubuntu 24.04 but the CUDA headers (scripts/setup brings those).
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)

# Compiled into every file that formats, fmt is half of what a debug build compiles, and most of it under sanitizers.
add_library(flashtune_fmt INTERFACE)
target_link_libraries(flashtune_fmt INTERFACE $<IF:$<BOOL:${FLASHTUNE_SYSTEM_FMT}>,fmt::fmt,fmt::fmt-header-only>)

# cuda.h and nvrtc.h only: the driver and NVRTC are opened at run time. A toolkit, or the wheels' folder of scripts/setup.
find_path(FLASHTUNE_CUDA_INCLUDE cuda.h
          HINTS ${PROJECT_SOURCE_DIR}/.cuda/include $ENV{CUDA_HOME}/include $ENV{CUDA_PATH}/include /usr/local/cuda/include
          DOC "Folder of cuda.h and nvrtc.h")
if(NOT FLASHTUNE_CUDA_INCLUDE OR NOT EXISTS ${FLASHTUNE_CUDA_INCLUDE}/nvrtc.h)
  message(FATAL_ERROR "cuda.h and nvrtc.h were not found. Run scripts/setup, or pass -DFLASHTUNE_CUDA_INCLUDE=DIR.")
endif()
add_library(flashtune_cuda_headers INTERFACE)
target_include_directories(flashtune_cuda_headers SYSTEM INTERFACE ${FLASHTUNE_CUDA_INCLUDE})

# Debian ships no CMake package for these; a static archive is preferred so that one binary runs on both systems.
function(flashtune_find_library target header library)
  if(FLASHTUNE_STATIC_DEPENDENCIES)
    find_library(${target}_LIBRARY NAMES lib${library}.a ${library})
  else()
    find_library(${target}_LIBRARY NAMES ${library})
  endif()
  find_path(${target}_INCLUDE ${header})
  if(NOT ${target}_LIBRARY OR NOT ${target}_INCLUDE)
    message(FATAL_ERROR "${library} (${header}) was not found. Run scripts/setup.")
  endif()
  add_library(${target} INTERFACE)
  target_link_libraries(${target} INTERFACE ${${target}_LIBRARY} ${CMAKE_DL_LIBS} Threads::Threads m)
  target_include_directories(${target} SYSTEM INTERFACE ${${target}_INCLUDE})
endfunction()
flashtune_find_library(flashtune_sqlite sqlite3.h sqlite3)
flashtune_find_library(flashtune_xxhash xxhash.h xxhash)
flashtune_find_library(flashtune_nettle nettle/hmac.h nettle)
# Of the simulated device alone.
flashtune_find_library(flashtune_boost_context boost/context/detail/fcontext.hpp boost_context)
