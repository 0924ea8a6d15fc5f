# Every allocation of the program goes through test_memory.c, which lets one fail.
target_link_options(${target} PRIVATE -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=posix_memalign)
