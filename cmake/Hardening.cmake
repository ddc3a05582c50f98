# What makes a fault in memory harder to use: checked stacks and copies, tables that are read-only once the program has
# started, landing pads for indirect jumps. flashtune_hardening carries it; sanitizers bring checks of their own.
include(CheckCXXCompilerFlag)
include(CheckCXXSourceCompiles)
include(CheckLinkerFlag)
include(CheckPIESupported)
check_pie_supported()  # executables are linked as what CMAKE_POSITION_INDEPENDENT_CODE compiles them for

option(FLASHTUNE_HARDENING "Compile and link with what makes faults in memory harder to use" ON)
add_library(flashtune_hardening INTERFACE)
if(NOT FLASHTUNE_HARDENING)
  return()
endif()

# flashtune_harden_compile(FLAG), flashtune_harden_link(FLAG): adds a flag that the compiler or the linker takes.
function(flashtune_harden_compile flag)
  string(MAKE_C_IDENTIFIER "FLASHTUNE_TAKES${flag}" takes)
  check_cxx_compiler_flag(${flag} ${takes})
  if(${takes})
    target_compile_options(flashtune_hardening INTERFACE ${flag})
  endif()
endfunction()

function(flashtune_harden_link flag)
  string(MAKE_C_IDENTIFIER "FLASHTUNE_LINKS${flag}" takes)
  check_linker_flag(CXX ${flag} ${takes})
  if(${takes})
    target_link_options(flashtune_hardening INTERFACE ${flag})
  endif()
endfunction()

foreach(flag IN ITEMS -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
  flashtune_harden_link(${flag})
endforeach()

if(NOT FLASHTUNE_SANITIZE)
  flashtune_harden_compile(-fstack-protector-strong)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|i[3-6]86")
    flashtune_harden_compile(-fcf-protection=full)
  endif()

  # The C library's checked copies need an optimiser, and warn where there is none. Some systems define the macro
  # themselves. 3 needs a compiler that follows sizes through the program.
  unset(FLASHTUNE_OPTIMISES CACHE)  # another build type may be asked for than the last time
  set(CMAKE_TRY_COMPILE_CONFIGURATION ${CMAKE_BUILD_TYPE})
  check_cxx_source_compiles("#ifndef __OPTIMIZE__\n#error\n#endif\nint main() {}" FLASHTUNE_OPTIMISES)
  set(CMAKE_REQUIRED_FLAGS "-O2 -Werror -Wsystem-headers -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3")
  check_cxx_source_compiles("#include <cstring>\nint main() {}" FLASHTUNE_FORTIFIES_3)
  unset(CMAKE_REQUIRED_FLAGS)
  unset(CMAKE_TRY_COMPILE_CONFIGURATION)
  if(FLASHTUNE_OPTIMISES)
    target_compile_options(flashtune_hardening INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$<IF:$<BOOL:${FLASHTUNE_FORTIFIES_3}>,3,2>)
  endif()
endif()
