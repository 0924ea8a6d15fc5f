# XXH3 is compiled once for each instruction set; xxh3.c chooses between them at run time. In debug builds it is
# optimised too: vector intrinsics that aren't inlined are some twenty times slower, and every block is hashed.
set_source_files_properties(checksum/xxh3_sse2.c checksum/xxh3_portable.c PROPERTIES
  COMPILE_OPTIONS "$<$<CONFIG:Debug>:-O2>")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  set_source_files_properties(checksum/xxh3_avx2.c PROPERTIES
    COMPILE_OPTIONS "-mavx2;$<$<CONFIG:Debug>:-O2>")
  set_source_files_properties(checksum/xxh3_avx512.c PROPERTIES
    COMPILE_OPTIONS "-mavx512f;-mavx512bw;-mavx512vl;$<$<CONFIG:Debug>:-O2>")
endif()
