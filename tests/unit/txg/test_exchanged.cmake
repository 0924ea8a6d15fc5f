# Every allocation of the program goes through test_exchanged.c, which lets one fail.
target_link_options(${target} PRIVATE -Wl,--wrap=malloc,--wrap=calloc,--wrap=posix_memalign,--wrap=mmap)
