# Every allocation of the program goes through test_memory.c, which lets one fail; starting a thread counts as one.
target_link_options(${target} PRIVATE
  -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=posix_memalign,--wrap=mmap,--wrap=pthread_create)
