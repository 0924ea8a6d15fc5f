# Warnings and sanitizers. Every target of the project links pool_options.
set(POOL_SANITIZE "" CACHE STRING "sanitizers to build with: address,undefined or thread")
option(POOL_WERROR "treat warnings as errors" ON)
option(POOL_TESTS "build the tests" ON)
option(POOL_FUZZ "link the targets of tests/fuzz with libFuzzer (clang); no other tests" OFF)

add_library(pool_options INTERFACE)
target_include_directories(pool_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(pool_options INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64)
target_compile_options(pool_options INTERFACE
  -Wall -Wextra -Wshadow -Wpointer-arith -Wundef -Wvla -Wwrite-strings
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition>
  -fno-strict-aliasing -fno-common)
# The stack of a fiber ends with one page without access: a larger frame must not reach beyond it unnoticed.
include(CheckCCompilerFlag)
check_c_compiler_flag(-fstack-clash-protection POOL_HAS_STACK_CLASH_PROTECTION)
if(POOL_HAS_STACK_CLASH_PROTECTION)
  target_compile_options(pool_options INTERFACE -fstack-clash-protection)
endif()
if(POOL_WERROR)
  target_compile_options(pool_options INTERFACE -Werror)
endif()
if(POOL_SANITIZE)
  target_compile_options(pool_options INTERFACE
    -fsanitize=${POOL_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(pool_options INTERFACE -fsanitize=${POOL_SANITIZE})
endif()
