# The kernel's answers to registrations of files go through test_slots.c, which may refuse for it.
target_link_options(${target} PRIVATE -Wl,--wrap=io_uring_register_files_update)
